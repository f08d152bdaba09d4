package suite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
)

func TestRouting(t *testing.T) {
	t.Parallel()
	e := start(t, setup{replicas: 2, roles: []controlplane.Role{controlplane.Etcd, controlplane.APIServer, controlplane.ControllerManager}})
	e.namespace(t, "shop")
	e.mustApply(t, gateway("shop", "gw", "shop.example.com", "*.wild.example.com"))

	t.Run("Denials", func(t *testing.T) { testDenials(t, e) })
	t.Run("OlderVersionsAreJudged", func(t *testing.T) {
		for _, version := range []string{"v1alpha3", "v1beta1"} {
			text := strings.Replace(virtualService("shop", "old-"+version, "nowhere.example.com", "gw"), "io/v1", "io/"+version, 1)
			wantError(t, version, e.apply(t.Context(), text), "MW102")
		}
	})
	t.Run("UnrelatedEditsPass", func(t *testing.T) { testUnrelatedEdits(t, e) })
	t.Run("DryRun", func(t *testing.T) { testDryRun(t, e) })
	t.Run("Probe", func(t *testing.T) { testProbe(t, e) })
	t.Run("Rename", func(t *testing.T) { testRename(t, e) })
	t.Run("GatewayDeletionWarns", func(t *testing.T) {
		e.mustApply(t, gateway("shop", "doomed", "doomed.example.com"))
		e.mustApply(t, virtualService("shop", "doomed", "doomed.example.com", "doomed"))
		e.waitKnown(t)
		warnings := e.warnings(t, func(ctx context.Context, c client.Client) error {
			return c.Delete(ctx, object("Gateway", "shop", "doomed"))
		})
		if !strings.Contains(warnings, "MW207") || !strings.Contains(warnings, "doomed.example.com") {
			t.Errorf("warnings %q, want MW207 with the host", warnings)
		}
	})
	t.Run("ReEvaluation", func(t *testing.T) {
		// The VirtualService that lost its Gateway above.
		e.event(t, "GatewayNotFound", "VirtualService", "shop", "doomed", "shop/doomed")
		e.metric(t, `meshwarden_stored_findings{action="deny",rule="MW101"} 1`)
		testRecurrence(t, e)
		noError(t, "delete it", e.client.Delete(t.Context(), object("VirtualService", "shop", "doomed")))
		e.metric(t, `meshwarden_stored_findings{action="deny",rule="MW101"} 0`)
	})
	t.Run("TerminatingNamespace", func(t *testing.T) { testTerminatingNamespace(t, e) })
}

// testRecurrence mends and breaks a VirtualService again and again: each time is news, and on the object's own page.
func testRecurrence(t *testing.T, e *environment) {
	v := object("VirtualService", "shop", "doomed")
	noError(t, "get it", e.client.Get(t.Context(), client.ObjectKeyFromObject(v), v))
	for times := 2; times <= 4; times++ {
		e.mustApply(t, gateway("shop", "doomed", "doomed.example.com"))
		e.metric(t, `meshwarden_stored_findings{action="deny",rule="MW101"} 0`)
		noError(t, "delete its gateway", e.client.Delete(t.Context(), object("Gateway", "shop", "doomed")))
		e.eventually(t, fmt.Sprintf("Event %d", times), func(ctx context.Context) error {
			list := &eventsv1.EventList{}
			err := e.client.List(ctx, list, client.InNamespace("shop"))
			seen := 0
			for _, event := range list.Items {
				if event.Reason == "GatewayNotFound" && event.Regarding.UID == v.GetUID() {
					seen++
				}
			}
			if err == nil && seen != times {
				err = fmt.Errorf("there are %d", seen)
			}
			return err
		})
	}
}

func testDenials(t *testing.T, e *environment) {
	e.mustApply(t, gateway("shop", "other", "other.example.com"))
	for _, tc := range []struct {
		name, reason, text string
		want               []string
	}{
		{
			name: "MW101", reason: "a missing gateway, with the one that was meant",
			text: virtualService("shop", "v", "shop.example.com", "istio-system/gw"), want: []string{"MW101", "istio-system/gw", "but there is shop/gw"},
		},
		{
			name: "MW102", reason: "a host that no server carries, with what is carried",
			text: virtualService("shop", "v", "nowhere.example.com", "gw"), want: []string{"spec.hosts[0]", "MW102", "nowhere.example.com", "shop.example.com"},
		},
		{
			name: "MW105", reason: "a gateway too many",
			text: virtualService("shop", "v", "shop.example.com", "gw", "other"), want: []string{"spec.gateways[1]", "MW105", "shop/other"},
		},
		{
			name: "MW106", reason: "a match for a gateway that the VirtualService does not bind to",
			text: virtualService("shop", "v", "shop.example.com", "gw") + "  - match: [{gateways: [other]}]\n    route:\n    - destination: {host: web}\n",
			want: []string{"spec.http[1].match[0].gateways[0]", "MW106"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := e.apply(t.Context(), tc.text)
			wantError(t, tc.reason, err, append(tc.want, "denied the request")...)
			status := apierrors.APIStatus(nil)
			if !errors.As(err, &status) || status.Status().Reason != metav1.StatusReasonInvalid || len(status.Status().Details.Causes) != 1 {
				t.Fatalf("%s: want status Invalid with one cause, got %v", tc.reason, err)
			}
			d := status.Status().Details
			if d.Kind != "VirtualService" || d.Name != "v" || !strings.HasPrefix(d.Causes[0].Message, tc.name) {
				t.Errorf("details %+v do not name the object and the rule", d)
			}
			e.logged(t, 1, "request denied", `"uid":"`, `"user":"`, tc.name, "VirtualService shop/v")
		})
	}
	e.metric(t, `meshwarden_decisions_total{action="deny",rule="MW102"}`)
}

// testUnrelatedEdits makes a VirtualService stale by deleting its Gateway, and edits it.
func testUnrelatedEdits(t *testing.T, e *environment) {
	e.mustApply(t, gateway("shop", "brief", "brief.example.com"))
	e.mustApply(t, virtualService("shop", "brief", "brief.example.com", "brief"))
	noError(t, "delete the gateway", e.client.Delete(t.Context(), object("Gateway", "shop", "brief")))
	e.waitKnown(t)
	edit := func(text string) string {
		return e.warnings(t, func(ctx context.Context, c client.Client) error {
			return c.Patch(ctx, object("VirtualService", "shop", "brief"), client.RawPatch(types.MergePatchType, []byte(text)))
		})
	}
	if warnings := edit(`{"spec":{"http":[{"route":[{"destination":{"host":"other"}}]}]}}`); !strings.Contains(warnings, "MW101") {
		t.Errorf("warnings %q, want the old finding", warnings)
	}
	if warnings := edit(`{"metadata":{"labels":{"team":"a"}}}`); warnings != "" {
		t.Errorf("warnings %q, want none: no rule reads labels", warnings)
	}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"gateways":["brief","gone"]}}`))
	err := e.client.Patch(t.Context(), object("VirtualService", "shop", "brief"), patch)
	wantError(t, "a second missing gateway is new", err, "MW101", "shop/gone")
	noError(t, "clean up", e.client.Delete(t.Context(), object("VirtualService", "shop", "brief")))
}

func testDryRun(t *testing.T, e *environment) {
	text := virtualService("shop", "dry", "dry.example.com", "dry")
	noError(t, "the dry run of a set's VirtualService before its Gateway exists", e.apply(t.Context(), text, client.DryRunAll))
	wantError(t, "the real thing", e.apply(t.Context(), text), "MW101")
	alone := strings.Replace(virtualService("shop", "dry", "shop.example.com", "gw"), "- route:", "- match: [{gateways: [other]}]\n    route:", 1)
	wantError(t, "what depends on no other object is denied in a dry run, too", e.apply(t.Context(), alone, client.DryRunAll), "MW106")
}

// testProbe sends the object with which istiod tests its own webhook.
func testProbe(t *testing.T, e *environment) {
	probe := `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  namespace: shop
  name: invalid-gateway
  annotations: {internal.istio.io/webhook-always-reject: "true"}
spec: {}
`
	noError(t, "istiod's probe", e.apply(t.Context(), probe, client.DryRunAll))
}

// testRename renames a host in Gateway and VirtualService: the one change for which no legal order exists.
func testRename(t *testing.T, e *environment) {
	e.mustApply(t, gateway("shop", "rename", "old.example.com"))
	e.mustApply(t, virtualService("shop", "rename", "old.example.com", "rename"))
	e.waitKnown(t)
	renamed := gateway("shop", "rename", "new.example.com")
	wantError(t, "the Gateway first", e.apply(t.Context(), renamed), "MW207", "old.example.com", "VirtualService shop/rename")
	wantError(t, "the VirtualService first", e.apply(t.Context(), virtualService("shop", "rename", "new.example.com", "rename")), "MW102")
	allowed := strings.Replace(renamed, "name: rename}", `name: rename, annotations: {meshwarden.io/allow: MW207}}`, 1)
	noError(t, "the Gateway with the override", e.apply(t.Context(), allowed))
	noError(t, "then the VirtualService", e.apply(t.Context(), virtualService("shop", "rename", "new.example.com", "rename")))
	e.event(t, "RuleOverridden", "Gateway", "shop", "rename")
	e.metric(t, `meshwarden_overrides_total{rule="MW207"} 1`)
	forbidden := strings.Replace(virtualService("shop", "forbidden", "shop.example.com", "nowhere"), "name: forbidden}", `name: forbidden, annotations: {meshwarden.io/allow: MW101}}`, 1)
	wantError(t, "a rule that the platform does not let objects override", e.apply(t.Context(), forbidden), "MW101", "does not let objects override")
}

// testTerminatingNamespace edits a Gateway in a namespace that a finalizer keeps from going away.
func testTerminatingNamespace(t *testing.T, e *environment) {
	e.namespace(t, "ending")
	held := strings.Replace(gateway("ending", "gw", "ending.example.com"), "name: gw}", `name: gw, finalizers: [example.com/hold]}`, 1)
	e.mustApply(t, held)
	e.mustApply(t, strings.Replace(virtualService("ending", "vs", "ending.example.com", "gw"), "name: vs}", `name: vs, finalizers: [example.com/hold]}`, 1))
	noError(t, "delete the namespace", e.client.Delete(t.Context(), namespaceObject("ending")))
	e.eventually(t, "its objects are being deleted", func(ctx context.Context) error {
		o := object("Gateway", "ending", "gw")
		if err := e.client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		if o.GetDeletionTimestamp() == nil {
			return errors.New("not yet")
		}
		return nil
	})
	drop := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"servers":[]}}`))
	noError(t, "an edit of an object that is being deleted", e.client.Patch(t.Context(), object("Gateway", "ending", "gw"), drop))
	release := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	for _, kind := range []string{"Gateway", "VirtualService"} {
		name := map[string]string{"Gateway": "gw", "VirtualService": "vs"}[kind]
		noError(t, "release", e.client.Patch(t.Context(), object(kind, "ending", name), release))
	}
	e.eventually(t, "the namespace is gone", func(ctx context.Context) error {
		return gone(e.client.Get(ctx, client.ObjectKey{Name: "ending"}, namespaceObject("ending")))
	})
}

// object names a stored object of the mesh.
func object(kind, namespace, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion("networking.istio.io/v1")
	o.SetKind(kind)
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}

func namespaceObject(name string) *metav1.PartialObjectMetadata {
	n := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return n
}

// warnings returns what the API server warns of during the call, which must succeed.
func (e *environment) warnings(t *testing.T, call func(context.Context, client.Client) error) string {
	t.Helper()
	heard := &warningRecorder{}
	config := e.cp.Config()
	config.WarningHandlerWithContext = heard
	c, err := client.New(config, client.Options{})
	noError(t, "make a client that hears warnings", err)
	noError(t, "call", call(t.Context(), c))
	heard.mu.Lock()
	defer heard.mu.Unlock()
	return strings.Join(heard.texts, "\n")
}

type warningRecorder struct {
	mu    sync.Mutex
	texts []string
}

var _ rest.WarningHandlerWithContext = (*warningRecorder)(nil)

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (r *warningRecorder) HandleWarningHeaderWithContext(_ context.Context, _ int, _ string, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts = append(r.texts, text)
}
