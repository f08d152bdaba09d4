package suite

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/pkg/ssa"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
)

// Hosts of the sets that the clients install.
const (
	hostA = "a.example.com"
	hostB = "b.example.com"
	hostC = "c.example.com"
)

// pollInterval is how often the clients look whether something is ready or gone.
const pollInterval = 50 * time.Millisecond

// revision is what a team keeps in Git: a namespace with a Gateway and a VirtualService.
type revision struct {
	gateway, virtualService []string // their hosts
	allow                   bool     // the Gateway's annotation that lets it orphan hosts
}

func both(hosts ...string) revision { return revision{gateway: hosts, virtualService: hosts} }

func (r revision) allowed() revision {
	r.allow = true
	return r
}

// set returns the revision's objects. What depends on another comes first: the order has to be the client's work.
func (r revision) set(namespace string) []*unstructured.Unstructured {
	vs := virtualService(namespace, "vs", "HOST", "gw")
	gw := gateway(namespace, "gw", r.gateway...)
	if r.allow {
		gw = strings.Replace(gw, "name: gw}", "name: gw, annotations: {meshwarden.io/allow: MW207}}", 1)
	}
	return documents(strings.Join([]string{
		strings.Replace(vs, `"HOST"`, quoted(r.virtualService), 1), gw,
		"{apiVersion: v1, kind: Namespace, metadata: {name: " + namespace + "}}",
	}, "\n---\n"))
}

// wantStored fails the test unless Gateway and VirtualService are stored as in the revision, in an onboarded namespace. It
// returns when Meshwarden has taken notice of both, so that what is warned of next does not hang on chance.
func (e *environment) wantStored(t *testing.T, reason, namespace string, want revision) {
	t.Helper()
	gw, vs := object("Gateway", namespace, "gw"), object("VirtualService", namespace, "vs")
	for _, o := range []*unstructured.Unstructured{gw, vs} {
		noError(t, reason, e.client.Get(t.Context(), client.ObjectKeyFromObject(o), o))
	}
	servers, _, _ := unstructured.NestedSlice(gw.Object, "spec", "servers")
	carried, _, _ := unstructured.NestedStringSlice(servers[0].(map[string]any), "hosts")
	if diff := cmp.Diff(want.gateway, carried); diff != "" {
		t.Errorf("%s: stored hosts of the Gateway (-want +got):\n%s", reason, diff)
	}
	hosts, _, _ := unstructured.NestedStringSlice(vs.Object, "spec", "hosts")
	if diff := cmp.Diff(want.virtualService, hosts); diff != "" {
		t.Errorf("%s: stored hosts of the VirtualService (-want +got):\n%s", reason, diff)
	}
	if n := e.getNamespace(t, namespace); n.Labels["istio-injection"] != "enabled" || n.Annotations["meshwarden.io/onboarding"] != "enabled" {
		t.Errorf("%s: the namespace has labels %v and annotations %v", reason, n.Labels, n.Annotations)
	}
	e.waitPolicy(t, namespace)
	e.waitNoticed(t, namespace, want)
}

// waitNoticed waits until Meshwarden knows the revision. It asks by dry runs: a Gateway without any of the hosts would
// orphan each of the VirtualService, and nothing is to be said of the VirtualService as it is.
func (e *environment) waitNoticed(t *testing.T, namespace string, r revision) {
	t.Helper()
	e.eventually(t, "Meshwarden knows what is stored in "+namespace, func(context.Context) error {
		warnings := strings.Split(e.warnings(t, func(ctx context.Context, c client.Client) error {
			emptied := revision{gateway: []string{"unused.example.com"}, virtualService: r.virtualService}
			for _, o := range emptied.set(namespace) {
				err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("test"), client.ForceOwnership, client.DryRunAll)
				if err != nil {
					return err
				}
			}
			return nil
		}), "\n")
		for _, host := range r.virtualService {
			if !slices.ContainsFunc(warnings, func(w string) bool { return strings.Contains(w, "MW207") && strings.Contains(w, strconv.Quote(host)) }) {
				return fmt.Errorf("warnings %q, without MW207 for %s", warnings, host)
			}
		}
		if len(warnings) > len(r.virtualService) {
			return fmt.Errorf("warnings %q, want MW207 for %v alone", warnings, r.virtualService)
		}
		return nil
	})
}

// wantGone fails the test unless the namespace and what was in it ends.
func (e *environment) wantGone(t *testing.T, namespace string) {
	t.Helper()
	e.eventually(t, namespace+" is gone", func(ctx context.Context) error {
		for _, o := range both(hostA).set(namespace) {
			if err := gone(e.client.Get(ctx, client.ObjectKeyFromObject(o), o)); err != nil {
				return fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
			}
		}
		return nil
	})
}

// Flux dry-runs all objects of a set before it applies the first; then it applies those that would change, the Gateway
// before the VirtualService.
func TestFlux(t *testing.T) {
	t.Parallel()
	e := start(t, setup{replicas: 2, roles: []controlplane.Role{controlplane.Etcd, controlplane.APIServer, controlplane.ControllerManager}})
	t.Run("Lifecycle", func(t *testing.T) { testFluxLifecycle(t, e) })
	t.Run("TakesOverNamespace", func(t *testing.T) { testFluxTakesOver(t, e) })
}

// fluxStep is a revision that Flux applies after the one before it.
type fluxStep struct {
	reason  string
	in      revision
	changes [3]ssa.Action // of Namespace, Gateway and VirtualService
	warned  []string      // the rules that the dry run, or an override, warns of
	denied  []string      // parts of the error
}

func fluxSteps() []fluxStep {
	const created, configured, unchanged = ssa.CreatedAction, ssa.ConfiguredAction, ssa.UnchangedAction
	return []fluxStep{
		{reason: "an install in one go", in: both(hostA), changes: [3]ssa.Action{created, created, created}, warned: []string{"MW101"}},
		{reason: "what Meshwarden added is no drift", in: both(hostA), changes: [3]ssa.Action{unchanged, unchanged, unchanged}},
		{reason: "a host added to both", in: both(hostA, hostB), changes: [3]ssa.Action{unchanged, configured, configured}, warned: []string{"MW102"}},
		{
			reason: "a host renamed in both", in: both(hostA, hostC), warned: []string{"MW207", "MW102"},
			denied: []string{"Gateway/flux/gw apply failed", "MW207", hostB, "VirtualService flux/vs", "meshwarden.io/allow: MW207"},
		},
		{
			reason: "a host renamed in both, with the annotation", in: both(hostA, hostC).allowed(),
			changes: [3]ssa.Action{unchanged, configured, configured}, warned: []string{"MW207", "MW102", "MW207"},
		},
		{reason: "the annotation has done its service", in: both(hostA, hostC), changes: [3]ssa.Action{unchanged, configured, unchanged}},
		{
			reason: "a wrong host passes the dry run with a warning, and is not stored",
			in:     revision{gateway: []string{hostA, hostC}, virtualService: []string{hostA, "typo.example.com"}},
			warned: []string{"MW102"},
			denied: []string{"VirtualService/flux/vs apply failed", "spec.hosts[1]", "MW102", "typo.example.com"},
		},
		{reason: "the mistake reverted", in: both(hostA, hostC), changes: [3]ssa.Action{unchanged, unchanged, unchanged}},
		{
			reason: "a host removed from both: the Gateway comes first, while the VirtualService still has it", in: both(hostA),
			warned: []string{"MW207"}, denied: []string{"Gateway/flux/gw apply failed", "MW207", hostC},
		},
		{
			reason: "so the VirtualService goes first", in: revision{gateway: []string{hostA, hostC}, virtualService: []string{hostA}},
			changes: [3]ssa.Action{unchanged, unchanged, configured},
		},
		{reason: "and then the Gateway", in: both(hostA), changes: [3]ssa.Action{unchanged, configured, unchanged}},
	}
}

func testFluxLifecycle(t *testing.T, e *environment) {
	k := newKustomization(t, e, "flux")
	var stored revision
	for _, tc := range fluxSteps() {
		changes, err := k.apply(t.Context(), tc.in)
		if tc.denied != nil {
			wantError(t, tc.reason, err, tc.denied...)
		} else {
			noError(t, tc.reason, err)
			stored = tc.in
			want := map[string]ssa.Action{"Namespace/flux": tc.changes[0], "Gateway/flux/gw": tc.changes[1], "VirtualService/flux/vs": tc.changes[2]}
			if diff := cmp.Diff(want, changes); diff != "" {
				t.Errorf("%s: changes (-want +got):\n%s", tc.reason, diff)
			}
		}
		if diff := cmp.Diff(tc.warned, k.warned(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: warnings (-want +got):\n%s", tc.reason, diff)
		}
		e.wantStored(t, tc.reason, "flux", stored)
	}
	for name, action := range k.diff(t, stored) {
		if action != ssa.UnchangedAction {
			t.Errorf("%s drifts: %s", name, action)
		}
	}
	noError(t, "delete the set", k.delete(t.Context(), stored))
	if warned := k.warned(); len(warned) > 0 {
		t.Errorf("the deletion warns of %v, but Flux deletes the VirtualService first", warned)
	}
	e.wantGone(t, "flux")
}

// testFluxTakesOver lets Flux take over a namespace that was made by hand. Flux removes every field that kubectl wrote and
// Git does not have. What Meshwarden added belongs to no client and stays.
func testFluxTakesOver(t *testing.T, e *environment) {
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "adopted", Labels: map[string]string{"team": "a"}}}
	noError(t, "make it by hand", e.client.Create(t.Context(), n, client.FieldOwner("kubectl-create")))
	k := newKustomization(t, e, "adopted")
	for _, reason := range []string{"take it over", "reconcile again"} {
		_, err := k.apply(t.Context(), both(hostA))
		noError(t, reason, err)
		e.wantStored(t, reason, "adopted", both(hostA))
	}
	if n := e.getNamespace(t, "adopted"); n.Labels["team"] != "" {
		t.Errorf("labels %v: Flux did not take over what kubectl wrote, so this shows nothing", n.Labels)
	}
}

// kustomization applies sets as kustomize-controller does.
type kustomization struct {
	namespace string
	manager   *ssa.ResourceManager
	heard     *warningRecorder
}

func newKustomization(t *testing.T, e *environment, namespace string) *kustomization {
	t.Helper()
	k := &kustomization{namespace: namespace, heard: &warningRecorder{}}
	config := e.cp.Config()
	config.WarningHandlerWithContext = k.heard
	c, err := client.New(config, client.Options{})
	noError(t, "make Flux's client", err)
	poller := polling.NewStatusPoller(c, c.RESTMapper(), polling.Options{})
	k.manager = ssa.NewResourceManager(c, poller, ssa.Owner{Field: "kustomize-controller", Group: "kustomize.toolkit.fluxcd.io"})
	return k
}

func (k *kustomization) objects(r revision) []*unstructured.Unstructured {
	objects := r.set(k.namespace)
	k.manager.SetOwnerLabels(objects, k.namespace, "flux-system")
	return objects
}

// apply does what kustomize-controller does with a new revision, and on every interval.
func (k *kustomization) apply(ctx context.Context, r revision) (map[string]ssa.Action, error) {
	options := ssa.DefaultApplyOptions()
	options.WaitInterval, options.WaitTimeout = pollInterval, patience
	// kustomize-controller's own list: what these wrote becomes its own, and goes when Git does not have it.
	for _, name := range []string{"kubectl", "before-first-apply", "kustomize-controller"} {
		options.Cleanup.FieldManagers = append(options.Cleanup.FieldManagers, ssa.FieldManager{Name: name, OperationType: metav1.ManagedFieldsOperationUpdate})
	}
	changes, err := k.manager.ApplyAllStaged(ctx, k.objects(r), options)
	if err != nil {
		return nil, err
	}
	return changes.ToMap(), nil
}

// diff does what `flux diff` does.
func (k *kustomization) diff(t *testing.T, r revision) map[string]ssa.Action {
	t.Helper()
	found := map[string]ssa.Action{}
	for _, o := range k.objects(r) {
		entry, _, _, err := k.manager.Diff(t.Context(), o, ssa.DefaultDiffOptions())
		noError(t, "diff", err)
		found[entry.Subject] = entry.Action
	}
	return found
}

func (k *kustomization) delete(ctx context.Context, r revision) error {
	options := ssa.DefaultDeleteOptions()
	options.Inclusions = k.manager.GetOwnerLabels(k.namespace, "flux-system")
	changes, err := k.manager.DeleteAll(ctx, k.objects(r), options)
	if err != nil {
		return err
	}
	return k.manager.WaitForSetTermination(changes, ssa.WaitOptions{Interval: pollInterval, Timeout: patience})
}

var ruleID = regexp.MustCompile(`MW\d{3}`)

// warned returns the rules of the warnings since it was last asked.
func (k *kustomization) warned() []string {
	k.heard.mu.Lock()
	defer k.heard.mu.Unlock()
	var rules []string
	for _, text := range k.heard.texts {
		rules = append(rules, ruleID.FindString(text))
	}
	k.heard.texts = nil
	return rules
}
