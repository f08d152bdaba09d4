package suite

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
)

// Meshwarden is there before Istio: it is ready, onboards, and takes up the CRDs when they come, go and come again.
func TestLateCRDs(t *testing.T) {
	t.Parallel()
	e := start(t, setup{withoutCRDs: true})
	e.namespace(t, "early")
	e.waitPolicy(t, "early")
	for _, round := range []string{"first", "second"} {
		e.applyCRDs(t)
		// Without waiting for anything: the kinds exist, so they are judged.
		name := "gw-" + round
		noError(t, "the first Gateway", e.apply(t.Context(), gateway("early", name, "early.example.com")))
		noError(t, "its VirtualService", e.apply(t.Context(), virtualService("early", name, "early.example.com", name)))
		wantError(t, "a stray host", e.apply(t.Context(), virtualService("early", "stray", "stray.example.com", name)), "MW102")
		e.metric(t, `meshwarden_model_objects{kind="VirtualService"} 1`)
		for _, crd := range []string{"gateways", "virtualservices"} {
			o := &unstructured.Unstructured{}
			o.SetAPIVersion("apiextensions.k8s.io/v1")
			o.SetKind("CustomResourceDefinition")
			o.SetName(crd + ".networking.istio.io")
			noError(t, "delete the CRD", e.client.Delete(t.Context(), o))
			e.eventually(t, "the CRD is gone", func(ctx context.Context) error {
				return gone(e.client.Get(ctx, client.ObjectKeyFromObject(o), o))
			})
		}
		e.metric(t, `meshwarden_model_objects{kind="VirtualService"} 0`)
		noError(t, "readiness without the CRDs", e.replicas[0].Ready(t.Context()))
	}
}

// The namespaces that the webhook did not see, by mode.
func TestBackfill(t *testing.T) {
	t.Parallel()
	e := start(t, setup{
		args: []string{"--backfill", "none", "--exclude-namespaces", "left-alone"},
		before: func(t *testing.T, e *environment) {
			for _, name := range []string{"older", "older-with-policy", "older-decided"} {
				e.namespace(t, name)
			}
			own := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "older-with-policy", Name: "default-deny"}}
			own.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
			noError(t, "create a policy", e.client.Create(t.Context(), own))
			e.patchNamespace(t, "older-decided", `{"metadata":{"labels":{"istio-injection":"disabled"}}}`)
			e.waitNextSecond(t)
		},
	})
	// In its absence, namespaces come into being that it misses.
	noError(t, "stop Meshwarden", e.replicas[0].Stop(background(t)))
	for _, name := range []string{"missed", "left-alone"} {
		e.namespace(t, name)
	}
	labelled := func(name string) bool { return e.getNamespace(t, name).Labels["istio-injection"] == "enabled" }
	// restart has a replica do its work, and returns when it has stopped.
	restart := func(mode, last string, done func()) {
		t.Helper()
		r := e.startReplica(t, "--backfill", mode)
		e.namespace(t, last) // comes after all others in every queue
		e.waitPolicy(t, last)
		done()
		noError(t, "stop Meshwarden", r.Stop(background(t)))
	}

	restart("none", "after-none", func() {})
	if labelled("missed") || labelled("older") {
		t.Error("none: a namespace was backfilled")
	}
	restart("missed", "after-missed", func() { e.waitPolicy(t, "missed") })
	if !labelled("missed") || labelled("older") || labelled("left-alone") {
		t.Errorf("missed: missed %v, older %v, excluded %v; want the first alone", labelled("missed"), labelled("older"), labelled("left-alone"))
	}
	e.patchNamespace(t, "missed", `{"metadata":{"labels":{"istio-injection":null}}}`)
	restart("all", "after-all", func() {
		e.waitPolicy(t, "older")
		e.event(t, "NetworkPolicyDeclined", "Namespace", "default", "older-with-policy")
	})
	if !labelled("older") || !labelled("older-with-policy") || labelled("left-alone") || labelled("older-decided") {
		t.Error("all: want the older ones labelled, without the excluded and the decided one")
	}
	if labelled("missed") {
		t.Error("all: a label that the user removed came back")
	}
	if _, err := e.policy(t.Context(), "older-with-policy"); !apierrors.IsNotFound(err) {
		t.Errorf("all: a namespace with policies got one, or %v", err)
	}
}

// waitNextSecond waits until the API server gives later creation times than so far: they are whole seconds.
func (e *environment) waitNextSecond(t *testing.T) {
	t.Helper()
	created := func(ctx context.Context) (metav1.Time, error) {
		c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", GenerateName: "clock-"}}
		err := e.client.Create(ctx, c, client.DryRunAll)
		return c.CreationTimestamp, err
	}
	start, err := created(t.Context())
	noError(t, "read the API server's clock", err)
	e.eventually(t, "the next second", func(ctx context.Context) error {
		now, err := created(ctx)
		if err == nil && !now.After(start.Time) {
			err = errors.New("it is still the same one")
		}
		return err
	})
}

// A stored object that cannot be parsed is skipped, counted and reported; it blocks no other one.
func TestUnparsableStoredObject(t *testing.T) {
	t.Parallel()
	e := start(t, setup{
		withoutCRDs: true,
		before: func(t *testing.T, e *environment) {
			lax, err := os.ReadFile(filepath.Join("testdata", "lax-crds.yaml"))
			noError(t, "read the lax CRDs", err)
			noError(t, "apply CRDs without a schema", e.cp.ApplyCRDs(t.Context(), lax))
			e.namespace(t, "broken")
			e.mustApply(t, strings.Replace(virtualService("broken", "bad", "a.example.com", "gw"), `hosts: ["a.example.com"]`, "hosts: 5", 1))
			e.mustApply(t, strings.Replace(gateway("broken", "bad", "a.example.com"), "number: 80", "number: -1", 1))
		},
	})
	e.metric(t, `meshwarden_unparsable_objects{kind="VirtualService"} 1`)
	e.metric(t, `meshwarden_unparsable_objects{kind="Gateway"} 1`)
	e.event(t, "Unparsable", "VirtualService", "broken", "bad", "spec.hosts")
	e.event(t, "Unparsable", "Gateway", "broken", "bad")
	noError(t, "a good Gateway beside it", e.apply(t.Context(), gateway("broken", "gw", "a.example.com")))
	noError(t, "a good VirtualService beside it", e.apply(t.Context(), virtualService("broken", "good", "a.example.com", "gw")))
	wantError(t, "a new one that cannot be parsed",
		e.apply(t.Context(), strings.Replace(gateway("broken", "worse", "a.example.com"), "number: 80", "number: many", 1)), "MW000", "spec.servers")
	e.mustApply(t, virtualService("broken", "bad", "a.example.com", "gw"))
	e.metric(t, `meshwarden_unparsable_objects{kind="VirtualService"} 0`)
}

// The roll-out: nothing is denied, everything is told.
func TestEnforcement(t *testing.T) {
	t.Parallel()
	e := start(t, setup{args: []string{"--enforcement", "warn", "--rule-action", "MW106=audit"}})
	e.namespace(t, "shop")
	e.mustApply(t, gateway("shop", "gw", "a.example.com"))
	heard := e.warnings(t, func(ctx context.Context, c client.Client) error {
		text := strings.Replace(virtualService("shop", "v", "b.example.com", "gw"), "- route:", "- match: [{gateways: [other]}]\n    route:", 1)
		o := documents(text)[0]
		return c.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("test"))
	})
	if !strings.Contains(heard, "MW102") || strings.Contains(heard, "MW106") {
		t.Errorf("warnings %q, want MW102 alone", heard)
	}
	e.metric(t, `meshwarden_decisions_total{action="audit",rule="MW106"} 1`)
	e.metric(t, `meshwarden_decisions_total{action="warn",rule="MW102"} 1`)
}

// Two replicas that both write do no harm, and the death of the control plane's parts is survived.
func TestRecovery(t *testing.T) {
	t.Parallel()
	// An API server that begins to serve has not read the roles yet.
	e := start(t, setup{replicas: 2, args: []string{"--leader-elect=false"}, mayBeRefused: true})
	e.namespace(t, "shop")
	e.mustApply(t, gateway("shop", "gw", "a.example.com"))
	for _, role := range []controlplane.Role{controlplane.APIServer, controlplane.Etcd} {
		noError(t, "kill a part of the control plane", e.cp.Process(role).Kill())
		noError(t, "start it again", e.cp.Restart(t.Context(), role))
		name := "after-" + strings.ToLower(string(role))
		e.eventually(t, "writes work again", func(ctx context.Context) error {
			return client.IgnoreAlreadyExists(e.createNamespace(ctx, name))
		})
		e.eventually(t, "the namespace is onboarded", func(ctx context.Context) error {
			n := &corev1.Namespace{}
			if err := e.client.Get(ctx, client.ObjectKey{Name: name}, n); err != nil {
				return err
			}
			if n.Labels["istio-injection"] != "enabled" {
				return errors.New("no label")
			}
			_, err := e.policy(ctx, name)
			return err
		})
		e.eventually(t, "a good VirtualService is let in", func(ctx context.Context) error {
			return e.apply(ctx, virtualService("shop", name, "a.example.com", "gw"))
		})
		wantError(t, "a stray host", e.apply(t.Context(), virtualService("shop", "stray", "stray.example.com", "gw")), "MW102")
	}
}

// While no replica answers, writes to the mesh fail with an error, and nothing else does.
func TestEveryReplicaGone(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	e.namespace(t, "shop")
	e.mustApply(t, gateway("shop", "gw", "a.example.com"))
	held := strings.Replace(virtualService("shop", "held", "a.example.com", "gw"), "name: held}", `name: held, finalizers: [example.com/hold]}`, 1)
	e.mustApply(t, held)
	noError(t, "pause Meshwarden", e.replicas[0].Pause())
	noError(t, "a namespace, although Meshwarden hangs", e.createNamespace(t.Context(), "hang"))
	noError(t, "resume Meshwarden", e.replicas[0].Resume())
	noError(t, "kill Meshwarden", e.replicas[0].Kill())
	wantError(t, "a VirtualService", e.apply(t.Context(), virtualService("shop", "v", "a.example.com", "gw")), "failed calling webhook", "virtualservice.meshwarden.io")
	noError(t, "a config map", e.client.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "c"}}))
	noError(t, "the deletion of an object with a finalizer", e.client.Delete(t.Context(), object("VirtualService", "shop", "held")))
	release := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	noError(t, "the end of its finalizer", e.client.Patch(t.Context(), object("VirtualService", "shop", "held"), release))
	noError(t, "the deletion of a Gateway", e.client.Delete(t.Context(), object("Gateway", "shop", "gw")))
	var status apierrors.APIStatus
	if err := e.apply(t.Context(), gateway("shop", "gw", "a.example.com")); !errors.As(err, &status) || status.Status().Code < http.StatusInternalServerError {
		t.Errorf("a Gateway: %v, want a server error", err)
	}
}
