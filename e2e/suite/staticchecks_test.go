package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
	"github.com/meshwarden/meshwarden/e2e/meshwarden"
	"github.com/meshwarden/meshwarden/internal/fixture"
	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// What the API server checks by itself, without Meshwarden. The package cel holds the expressions to the rules on many more
// objects.
func TestStaticChecks(t *testing.T) {
	t.Parallel()
	e := startControlPlane(t, []controlplane.Role{controlplane.Etcd, controlplane.APIServer, controlplane.ControllerManager})
	e.applyCRDs(t)
	for _, name := range []string{"shop", "edge", "free", "meshwarden"} {
		e.namespace(t, name)
	}
	for _, name := range []string{"edge", "free"} {
		e.patchNamespace(t, name, `{"metadata":{"labels":{"meshwarden.io/wildcards":"allowed"}}}`)
	}
	// What is there before the policies are.
	e.mustApply(t, strings.Replace(gateway("free", "older", "*/*", "./old.example.com"), "name: older}", "name: older, finalizers: [example.com/hold]}", 1))
	e.mustApply(t, gateway("shop", "older", "./*"))
	e.mustApply(t, virtualService("shop", "older", "*", "older"))

	e.waitTypesKnown(t)
	policies := e.applyComponents(t, "static-checks", "static-checks/wildcards")
	t.Run("TypeChecking", func(t *testing.T) { e.testTypeChecking(t, policies) })
	e.waitDenied(t, gateway("free", "probe", "*/*", "./a.example.com"), "MW204")
	e.waitDenied(t, gateway("shop", "probe", "*"), "meshwarden.io/wildcards")
	e.waitDenied(t, virtualService("shop", "probe", "*", "gw"), "meshwarden.io/wildcards")
	e.waitWarned(t, gateway("shop", "probe", "B.example.com"), "MW113")
	e.waitWarned(t, virtualService("shop", "probe", "B.example.com", "gw"), "MW113")
	t.Run("Fixtures", func(t *testing.T) { e.testStaticFixtures(t) })
	t.Run("Creation", func(t *testing.T) { e.testStaticCreation(t) })
	t.Run("Older", func(t *testing.T) { e.testStaticOlder(t) })
	t.Run("Availability", func(t *testing.T) { e.testAvailability(t) })
}

// applyComponents applies the components of the manifests alone, as strictly as the API server is, and returns the policies
// among what they hold.
func (e *environment) applyComponents(t *testing.T, names ...string) []string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	noError(t, "make a folder", err)
	var components []string
	for _, name := range names {
		folder, err := meshwarden.Folder(t.Context(), "manifests", "components", name)
		noError(t, "find the component", err)
		relative, err := filepath.Rel(dir, folder)
		noError(t, "find the component", err)
		components = append(components, relative)
	}
	content, err := yaml.Marshal(map[string]any{"components": components})
	noError(t, "write the kustomization", err)
	noError(t, "write the kustomization", os.WriteFile(filepath.Join(dir, "kustomization.yaml"), content, 0o600))
	objects, err := meshwarden.Build(dir)
	noError(t, "build the components", err)
	warnings, err := e.answer(t, func(ctx context.Context, c client.Client) error { return meshwarden.Apply(ctx, c, objects) })
	noError(t, "apply the components", err)
	if len(warnings) > 0 {
		t.Errorf("the API server warns of the components: %q", warnings)
	}
	var policies []string
	for _, o := range objects {
		if o.GetKind() == "ValidatingAdmissionPolicy" {
			policies = append(policies, o.GetName())
		}
	}
	return policies
}

// waitTypesKnown waits until the controller that checks types knows those of the CRDs: before, it finds no fault with anything,
// and does not look again.
func (e *environment) waitTypesKnown(t *testing.T) {
	t.Helper()
	e.eventually(t, "a misspelt field is found", func(ctx context.Context) error {
		p := &admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{GenerateName: "misspelt-"}}
		p.Spec.MatchConstraints = &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
			RuleWithOperations: admissionregistrationv1.RuleWithOperations{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{"networking.istio.io"}, APIVersions: []string{"v1"}, Resources: []string{"gateways", "virtualservices"}},
			},
		}}}
		p.Spec.Validations = []admissionregistrationv1.Validation{{Expression: "object.spec.misspelt == 1"}}
		if err := e.client.Create(ctx, p); err != nil {
			return err
		}
		e.waitTypesChecked(t, p)
		if err := e.client.Delete(ctx, p); err != nil {
			return err
		}
		// One line for each kind.
		if w := p.Status.TypeChecking.ExpressionWarnings; len(w) != 1 || !strings.Contains(w[0].Warning, "Gateway") || !strings.Contains(w[0].Warning, "VirtualService") {
			return fmt.Errorf("found %v", w)
		}
		return nil
	})
}

// waitTypesChecked waits until the controller has looked at the policy.
func (e *environment) waitTypesChecked(t *testing.T, p *admissionregistrationv1.ValidatingAdmissionPolicy) {
	t.Helper()
	e.eventually(t, "the types of "+p.Name+" are checked", func(ctx context.Context) error {
		if err := e.client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		if p.Status.TypeChecking == nil || p.Status.ObservedGeneration != p.Generation {
			return errors.New("not yet")
		}
		return nil
	})
}

// testTypeChecking waits for what the API server's controller says about the expressions, which it holds against the schemas
// of Istio's CRDs.
func (e *environment) testTypeChecking(t *testing.T, policies []string) {
	if len(policies) != 6 {
		t.Errorf("policies %q, want six", policies)
	}
	for _, name := range policies {
		p := &admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
		e.waitTypesChecked(t, p)
		for _, w := range p.Status.TypeChecking.ExpressionWarnings {
			t.Errorf("%s: %s: %s", name, w.FieldRef, w.Warning)
		}
	}
}

// testStaticFixtures replays the fixtures of MW204: the policies give the verdict of the rule, in its words.
func (e *environment) testStaticFixtures(t *testing.T) {
	fixtures, err := fixture.Load(os.DirFS(repository("testdata", "rules")))
	noError(t, "load the fixtures", err)
	rules := slices.DeleteFunc(policy.Rules(), func(r policy.Rule) bool { return r.ID != "MW204" })
	for _, f := range fixtures {
		if f.Rule != "MW204" || f.Operation == fixture.Delete {
			continue
		}
		t.Run(f.Path, func(t *testing.T) {
			change, err := f.Change(istio.Translator{ClusterDomain: "cluster.local"})
			noError(t, "translate", err)
			findings, err := change.Findings(rules)
			noError(t, "judge", err)
			submitted := f.Submitted.DeepCopy()
			if old := f.Old().DeepCopy(); old != nil {
				noError(t, "store", e.client.Create(t.Context(), old))
				submitted.SetResourceVersion(old.GetResourceVersion())
			}
			warnings, err := e.answer(t, func(ctx context.Context, c client.Client) error {
				if f.Operation == fixture.Update {
					return c.Update(ctx, submitted)
				}
				return c.Create(ctx, submitted)
			})
			holdTo(t, findings, warnings, err)
			noError(t, "clean up", client.IgnoreNotFound(e.client.Delete(t.Context(), f.Submitted.DeepCopy())))
		})
	}
}

// holdTo compares an answer with what the rule finds. A policy names one finding of several.
func holdTo(t *testing.T, findings []policy.Finding, warnings []string, err error) {
	t.Helper()
	said := func(text string, action policy.Action) bool {
		return slices.ContainsFunc(findings, func(f policy.Finding) bool {
			return f.Action == action && strings.Contains(text, f.Path+": "+f.Text())
		})
	}
	if denied := policy.Denies(findings); denied != (err != nil) || denied && !said(err.Error(), policy.Deny) {
		t.Errorf("answered %v, want what the rule finds: %v", err, findings)
	}
	if warned := len(findings) > 0 && !policy.Denies(findings); warned != (len(warnings) > 0) || warned && !said(warnings[0], policy.Warn) {
		t.Errorf("warned of %q, want what the rule finds: %v", warnings, findings)
	}
}

func (e *environment) testStaticCreation(t *testing.T) {
	const spelling, wildcard = "MW113 doubtful-spelling", "label the namespace meshwarden.io/wildcards=allowed"
	older := func(text, version string) string { return strings.Replace(text, "io/v1\n", "io/"+version+"\n", 1) }
	for _, tc := range []struct {
		reason, text string
		// denied and warned are parts of the answer; without any, the object is created without a word.
		denied, warned []string
	}{
		{"nothing to say", gateway("shop", "x", "a.example.com", "*.example.com", "./b.example.com"), nil, nil},
		{"a VirtualService with nothing to say", virtualService("shop", "x", "*.example.com", "gw"), nil, nil},
		{"no hosts", "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {namespace: shop, name: x}\nspec: {http: [{route: [{destination: {host: web}}]}]}", nil, nil},
		{"no spec", "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {namespace: shop, name: x}", nil, nil},
		{"version v1beta1", older(gateway("free", "x", "*/*", "./a.example.com"), "v1beta1"), []string{"spec.servers[0].hosts: MW204"}, nil},
		{"version v1alpha3", older(gateway("free", "x", "*/*", "./a.example.com"), "v1alpha3"), []string{"spec.servers[0].hosts: MW204"}, nil},
		{"an upper-case letter", gateway("shop", "x", "a.example.com", "B.Example.com"), nil, []string{spelling, `"B.Example.com"`}},
		{"more than one", gateway("shop", "x", "A.example.com", "./B.example.com"), nil, []string{spelling, `"A.example.com", "./B.example.com"`}},
		{"an upper-case letter in a VirtualService", virtualService("shop", "x", "a.Example.com", "gw"), nil, []string{"spec.hosts[0]: " + spelling, `"a.Example.com"`}},
		{"in an older version", older(virtualService("shop", "x", "a.Example.com", "gw"), "v1alpha3"), nil, []string{spelling}},
		{"every host", gateway("shop", "x", "a.example.com", "*"), []string{`spec.servers: the host "*"`, wildcard}, nil},
		{"every host for a namespace", gateway("shop", "x", "shop/*"), []string{`"shop/*"`, wildcard}, nil},
		{"every host in a VirtualService", virtualService("shop", "x", "*", "gw"), []string{"spec.hosts[0]", wildcard}, nil},
		{"every host where that is allowed", gateway("free", "x", "*"), nil, nil},
		{"every host in a VirtualService where that is allowed", virtualService("free", "x", "*", "gw"), nil, nil},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			o := documents(tc.text)[0]
			warnings, err := e.answer(t, func(ctx context.Context, c client.Client) error { return c.Create(ctx, o) })
			if len(tc.denied) > 0 {
				wantError(t, tc.reason, err, tc.denied...)
			} else {
				noError(t, "create", err)
				noError(t, "clean up", e.client.Delete(t.Context(), o))
			}
			heard := strings.Join(warnings, "\n")
			if len(tc.warned) == 0 && heard != "" {
				t.Errorf("warned of %q, want nothing", heard)
			}
			for _, part := range tc.warned {
				if !strings.Contains(heard, part) {
					t.Errorf("warned of %q, want %q", heard, part)
				}
			}
		})
	}
}

// testStaticOlder edits what was there before the policies: what has nothing to do with them passes.
func (e *environment) testStaticOlder(t *testing.T) {
	gw, wild, vs := object("Gateway", "free", "older"), object("Gateway", "shop", "older"), object("VirtualService", "shop", "older")
	patch := func(o *unstructured.Unstructured, text string) ([]string, error) {
		return e.answer(t, func(ctx context.Context, c client.Client) error {
			return c.Patch(ctx, o.DeepCopy(), client.RawPatch(types.JSONPatchType, []byte(text)))
		})
	}
	failing := `{"port": {"number": 81, "name": "b", "protocol": "HTTP"}, "hosts": ["*/*", "./more.example.com"]}`
	for _, tc := range []struct {
		reason         string
		object         *unstructured.Unstructured
		patch          string
		denied, warned string
	}{
		{"a label says nothing about hosts", gw, `[{"op": "add", "path": "/metadata/labels", "value": {"team": "a"}}]`, "", ""},
		{
			"a server more: the old fault is only mentioned", gw,
			`[{"op": "add", "path": "/spec/servers/-", "value": {"port": {"number": 443, "name": "s", "protocol": "HTTP"}, "hosts": ["new.example.com"]}}]`, "", "MW204",
		},
		{"the fault moved elsewhere in the list", gw, `[{"op": "add", "path": "/spec/servers/0/hosts/0", "value": "first.example.com"}]`, "", "MW204"},
		{"a second fault of the kind", gw, `[{"op": "add", "path": "/spec/servers/-", "value": ` + failing + `}]`, "MW204", ""},
		{"a host beside a wildcard", wild, `[{"op": "add", "path": "/spec/servers/0/hosts/-", "value": "a.example.com"}]`, "", ""},
		{"the same wildcard once more", wild, `[{"op": "add", "path": "/spec/servers/0/hosts/-", "value": "./*"}]`, `the host "./*`, ""},
		{"a wider one in its place", wild, `[{"op": "replace", "path": "/spec/servers/0/hosts/0", "value": "*"}]`, `the host "*`, ""},
		{"a host beside the wildcard of a VirtualService", vs, `[{"op": "add", "path": "/spec/hosts/-", "value": "a.example.com"}]`, "", ""},
		{"the wildcard taken out", vs, `[{"op": "remove", "path": "/spec/hosts/0"}]`, "", ""},
		{"and put back", vs, `[{"op": "add", "path": "/spec/hosts/-", "value": "*"}]`, "meshwarden.io/wildcards", ""},
	} {
		warnings, err := patch(tc.object, tc.patch)
		if tc.denied != "" {
			wantError(t, tc.reason, err, tc.denied)
		} else if err != nil {
			t.Errorf("%s: %v", tc.reason, err)
		}
		if heard := strings.Join(warnings, "\n"); tc.denied == "" && (tc.warned == "") != (heard == "") || !strings.Contains(heard, tc.warned) {
			t.Errorf("%s: warned of %q, want %q", tc.reason, heard, tc.warned)
		}
	}
	noError(t, "delete it", e.client.Delete(t.Context(), gw.DeepCopy()))
	_, err := patch(gw, `[{"op": "add", "path": "/spec/servers/-", "value": `+failing+`}]`)
	noError(t, "change what is being deleted", err)
	_, err = patch(gw, `[{"op": "remove", "path": "/metadata/finalizers"}]`)
	noError(t, "release it", err)
	if err := e.client.Get(t.Context(), client.ObjectKeyFromObject(gw), gw.DeepCopy()); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("it is still there, or %v", err)
	}
}

// testAvailability follows the warning that Meshwarden is away, as its PodDisruptionBudget has it.
func (e *environment) testAvailability(t *testing.T) {
	const away = "kubectl delete validatingwebhookconfiguration meshwarden"
	write := func(ctx context.Context, c client.Client) error {
		return c.Create(ctx, documents(gateway("shop", "x", "a.example.com"))[0], client.DryRunAll)
	}
	wait := func(what string, want bool) {
		e.eventually(t, what, func(context.Context) error {
			warnings, err := e.answer(t, write)
			if known := strings.Contains(strings.Join(warnings, "\n"), away); err == nil && known != want {
				return fmt.Errorf("the warning is there: %t", known)
			}
			return err
		})
	}
	text, err := os.ReadFile(repository("manifests", "base", "poddisruptionbudget.yaml"))
	noError(t, "read the manifest", err)
	e.mustApply(t, string(text))
	wait("it is known to be away", true)
	e.mustApply(t, `
apiVersion: apps/v1
kind: Deployment
metadata: {namespace: meshwarden, name: meshwarden}
spec:
  replicas: 1
  selector: {matchLabels: &labels {app.kubernetes.io/name: meshwarden, app.kubernetes.io/component: webhook}}
  template:
    metadata: {labels: *labels}
    spec:
      containers: [{name: webhook, image: meshwarden/webhook}]
`)
	e.eventually(t, "its pod is ready", func(ctx context.Context) error {
		pods := &corev1.PodList{}
		if err := e.client.List(ctx, pods, client.InNamespace("meshwarden")); err != nil {
			return err
		}
		if len(pods.Items) != 1 {
			return fmt.Errorf("there are %d", len(pods.Items))
		}
		pod := &pods.Items[0]
		pod.Status.Phase = corev1.PodRunning
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		return e.client.Status().Update(ctx, pod)
	})
	wait("it is known to be back", false)
}

// answer returns what the API server answers to the call: its warnings, and its error.
func (e *environment) answer(t *testing.T, call func(context.Context, client.Client) error) ([]string, error) {
	t.Helper()
	heard := &warningRecorder{}
	config := e.cp.Config()
	config.WarningHandlerWithContext = heard
	c, err := client.New(config, client.Options{Mapper: e.client.RESTMapper()})
	noError(t, "make a client that hears warnings", err)
	err = call(t.Context(), c)
	heard.mu.Lock()
	defer heard.mu.Unlock()
	return heard.texts, err
}

// waitDenied waits until a dry run of the object is denied for the reason.
func (e *environment) waitDenied(t *testing.T, text, reason string) {
	t.Helper()
	e.eventually(t, "a denial with "+reason, func(ctx context.Context) error {
		return refused(e.client.Create(ctx, documents(text)[0], client.DryRunAll), reason)
	})
}
