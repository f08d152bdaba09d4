package suite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
)

// A cluster whose Meshwarden is gone lives on, and the documented commands take it out of the way and put it back.
func TestHostage(t *testing.T) {
	t.Parallel()
	e := start(t, setup{replicas: 2, roles: []controlplane.Role{controlplane.Etcd, controlplane.APIServer, controlplane.ControllerManager}})
	for _, name := range []string{"shop", "full", "brief"} {
		e.namespace(t, name)
	}
	for _, namespace := range []string{"shop", "full"} {
		hold := func(text, name string) string {
			return strings.Replace(text, "name: "+name+"}", "name: "+name+", finalizers: [example.com/hold]}", 1)
		}
		host := namespace + ".example.com"
		e.mustApply(t, hold(gateway(namespace, "gw", host), "gw"))
		e.mustApply(t, hold(virtualService(namespace, "vs", host, "gw"), "vs"))
		e.mustApply(t, gateway(namespace, "plain", "plain."+host))
		e.mustApply(t, virtualService(namespace, "plain", "plain."+host, "plain"))
	}
	e.mustApply(t, gateway("shop", "kept", "kept.example.com"))
	e.mustApply(t, virtualService("shop", "kept", "kept.example.com", "kept"))
	for _, r := range e.replicas {
		noError(t, "kill a replica", r.Kill())
	}
	e.eventually(t, "Meshwarden is gone", func(ctx context.Context) error {
		if err := e.apply(ctx, gateway("shop", "probe", "probe.example.com"), client.DryRunAll); err == nil {
			return errors.New("a Gateway could be created")
		}
		return nil
	})

	t.Run("LifeGoesOn", func(t *testing.T) { e.testLifeGoesOn(t) })
	t.Run("WritesSayWhatToDo", func(t *testing.T) { e.testWritesSayWhatToDo(t) })
	t.Run("OutAndBack", func(t *testing.T) {
		e.outAndBack(t, "shop", func() {
			noError(t, "write what nobody judges", e.apply(t.Context(), virtualService("shop", "stray", "stray.example.com", "gone")))
			e.replicas = append(e.replicas, e.startReplica(t))
			_, err := e.shell(t, documentedBlock(t, "## In an emergency", 1))
			noError(t, "put it back", err)
		})
		// What came in meanwhile was found.
		e.event(t, "GatewayNotFound", "VirtualService", "shop", "stray")
	})
}

// outAndBack takes Meshwarden out of the way by the command of docs/operations.md, and expects that writes to the namespace go
// through; then it has Meshwarden put back by one of the other commands there, and waits until it judges again.
func (e *environment) outAndBack(t *testing.T, namespace string, putBack func()) {
	t.Helper()
	_, err := e.shell(t, documentedBlock(t, "## In an emergency", 0))
	noError(t, "take it out of the way", err)
	e.eventually(t, "writes go through", func(ctx context.Context) error {
		return e.apply(ctx, wrongByItself(namespace), client.DryRunAll)
	})
	putBack()
	e.waitJudged(t, namespace)
}

// wrongByItself is a VirtualService that is denied whatever else there is, so that a dry run is denied as well.
func wrongByItself(namespace string) string {
	return strings.Replace(virtualService(namespace, "wrong", "wrong.example.com", "gone"), "- route:", "- match: [{gateways: [other]}]\n    route:", 1)
}

// waitJudged waits until a write to the namespace is judged.
func (e *environment) waitJudged(t *testing.T, namespace string) {
	t.Helper()
	e.eventually(t, "writes are judged", func(ctx context.Context) error {
		return refused(e.apply(ctx, wrongByItself(namespace), client.DryRunAll), "MW106")
	})
}

// testLifeGoesOn does everything that must not need Meshwarden.
func (e *environment) testLifeGoesOn(t *testing.T) {
	merge := func(o *unstructured.Unstructured, patch string) func(context.Context) error {
		return func(ctx context.Context) error {
			return e.client.Patch(ctx, o.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch)))
		}
	}
	remove := func(o client.Object) func(context.Context) error {
		return func(ctx context.Context) error { return e.client.Delete(ctx, o) }
	}
	apply := func(text string) func(context.Context) error {
		return func(ctx context.Context) error { return e.apply(ctx, text) }
	}
	const release = `{"metadata":{"finalizers":null}}`
	gw, vs := object("Gateway", "shop", "gw"), object("VirtualService", "shop", "vs")
	for _, tc := range []struct {
		reason string
		do     func(context.Context) error
	}{
		{"a new namespace", func(ctx context.Context) error { return e.createNamespace(ctx, "new") }},
		{"a label on a namespace", func(ctx context.Context) error {
			return e.client.Patch(ctx, namespaceObject("new"), client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"team":"a"}}}`)))
		}},
		{"a pod", apply("apiVersion: v1\nkind: Pod\nmetadata: {namespace: shop, name: web}\nspec: {automountServiceAccountToken: false, serviceAccountName: default, containers: [{name: web, image: web}]}")},
		{"a ConfigMap", apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: new, name: web}\ndata: {a: b}")},
		{"a Service", apply("apiVersion: v1\nkind: Service\nmetadata: {namespace: new, name: web}\nspec: {ports: [{port: 80}]}")},
		{"a DestinationRule, Istio's but none of Meshwarden's", apply("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {namespace: new, name: web}\nspec: {host: web}")},
		{"labels of a VirtualService", merge(vs, `{"metadata":{"labels":{"team":"a"}}}`)},
		{"an annotation of a Gateway", merge(gw, `{"metadata":{"annotations":{"example.com/note":"a"}}}`)},
		{"the status of a Gateway", func(ctx context.Context) error {
			return e.client.Status().Patch(ctx, gw.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"status":{"observedGeneration":"7"}}`)))
		}},
		{"a set that is applied once more without a change", apply(virtualService("shop", "plain", "plain.shop.example.com", "plain"))},
		{"a VirtualService deleted", remove(object("VirtualService", "shop", "plain"))},
		{"a Gateway deleted", remove(object("Gateway", "shop", "plain"))},
		{"a Gateway deleted that others need and a finalizer holds", remove(gw.DeepCopy())},
		{"a VirtualService deleted that a finalizer holds", remove(vs.DeepCopy())},
		{"a spec changed in what is being deleted", merge(gw, `{"spec":{"servers":[]}}`)},
		{"a Gateway released", merge(gw, release)},
		{"a VirtualService released", merge(vs, release)},
		{"an empty namespace deleted", remove(namespaceObject("brief"))},
		{"a namespace full of them deleted", remove(namespaceObject("full"))},
		{"a new namespace deleted again", remove(namespaceObject("new"))},
	} {
		if err := tc.do(t.Context()); err != nil {
			t.Errorf("%s: %v", tc.reason, err)
		}
	}
	held := []*unstructured.Unstructured{object("Gateway", "full", "gw"), object("VirtualService", "full", "vs")}
	for _, o := range held {
		e.eventually(t, "the namespace's "+o.GetKind()+" waits for its finalizer", func(ctx context.Context) error {
			if err := e.client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
				return err
			}
			if o.GetDeletionTimestamp() == nil {
				return errors.New("not yet")
			}
			return nil
		})
		noError(t, "release it", merge(o, release)(t.Context()))
	}
	for _, name := range []string{"brief", "full", "new"} {
		e.eventually(t, "namespace "+name+" is gone", func(ctx context.Context) error {
			n := &corev1.Namespace{}
			if err := gone(e.client.Get(ctx, client.ObjectKey{Name: name}, n)); err != nil {
				return fmt.Errorf("%w: conditions %v", err, n.Status.Conditions)
			}
			return nil
		})
	}
}

// testWritesSayWhatToDo makes the writes that must not pass unjudged. What they answer is read as users see it, in kubectl.
func (e *environment) testWritesSayWhatToDo(t *testing.T) {
	e.mustApply(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: shop, name: alive}")
	const command = "kubectl/delete/validatingwebhookconfiguration/meshwarden"
	for _, tc := range []struct{ reason, text, webhook string }{
		{"a new VirtualService", virtualService("shop", "more", "more.example.com", "gw"), "virtualservice.meshwarden.io"},
		{"a new Gateway", gateway("shop", "more", "more.example.com"), "gateway.meshwarden.io"},
		{"a new Gateway in an older version", strings.Replace(gateway("shop", "more", "more.example.com"), "io/v1", "io/v1beta1", 1), "gateway.meshwarden.io"},
	} {
		err := e.apply(t.Context(), tc.text)
		wantError(t, tc.reason, err, tc.webhook, "docs/operations.md/in-an-emergency", command)
		_, err = e.shell(t, "kubectl create -f - <<'END'\n"+tc.text+"\nEND\n")
		wantError(t, tc.reason+", by kubectl", err, tc.webhook, "docs/operations.md/in-an-emergency", command)
	}
	for _, tc := range []struct{ reason, kind, patch, webhook string }{
		{"another spec", "VirtualService", `{"spec":{"hosts":["more.example.com"]}}`, "virtualservice.meshwarden.io"},
		{"another spec of a Gateway", "Gateway", `{"spec":{"servers":[]}}`, "gateway.meshwarden.io"},
		{"the annotation that allows", "Gateway", `{"metadata":{"annotations":{"meshwarden.io/allow":"MW207"}}}`, "gateway.meshwarden.io"},
	} {
		err := e.client.Patch(t.Context(), object(tc.kind, "shop", "kept"), client.RawPatch(types.MergePatchType, []byte(tc.patch)))
		wantError(t, tc.reason, err, tc.webhook, "docs/operations.md/in-an-emergency", command)
	}
	if _, err := e.shell(t, "kubectl -n shop get configmap alive"); err != nil {
		t.Errorf("kubectl does not work at all: %v", err)
	}
}
