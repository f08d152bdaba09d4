package suite

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The operator keeps one installation as described.
func TestIstioOperator(t *testing.T) {
	t.Parallel()
	o := startOperator(t, 1)
	o.mustApply(t, istioOperator("istio-system", "mesh", "  profile: default"))
	_, err := o.shell(t, fmt.Sprintf("kubectl -n istio-system wait --for=condition=Ready --timeout=%s istiooperator/mesh", patience))
	noError(t, "wait as users do", err)
	o.waitStatus(t, "istio-system", "mesh", "HEALTHY")
	// As long as istiod's webhook is as rendered, it lets everything pass: nobody answers for it here.
	o.mustApply(t, virtualService("default", "users", "users.example.com", "mesh"))
	for _, step := range []struct {
		name string
		run  func(*testing.T, *operated)
	}{
		{"AsIstioRenders", testAsIstioRenders},
		{"Idle", testIdle},
		{"Drift", testOperatedDrift},
		{"OthersFields", testOthersFields},
		{"InvalidSpec", testInvalidSpec},
		{"Refused", testRefused},
		{"Immutable", testImmutable},
		{"Upgrade", testUpgrade},
		{"Pruned", testPruned},
		{"Deletion", testOperatedDeletion},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.run(t, o) }) {
			t.FailNow() // the next ones go on from here
		}
	}
}

func testAsIstioRenders(t *testing.T, o *operated) {
	o.compareToIstio(t, "istio-system", "mesh", istioOperator("istio-system", "mesh", "  profile: default"))
	for _, name := range []string{"istiod", "istio-ingressgateway"} {
		d := o.object(t, "apps/v1", "Deployment", "istio-system", name)
		if n, _, _ := unstructured.NestedInt64(d.Object, "status", "availableReplicas"); n < 1 {
			t.Errorf("%s is not available, but the IstioOperator is healthy", name)
		}
	}
	if got := o.sum(t, `meshwarden_istio_operator_healthy{name="mesh",namespace="istio-system"}`); got != 1 {
		t.Errorf("the gauge is %v, want 1", got)
	}
	if err := o.repaired(t, 0); err != nil {
		t.Errorf("nobody changed anything: %v", err)
	}
}

// What changes nothing that was applied costs next to nothing.
func testIdle(t *testing.T, o *operated) {
	passes, requests := o.settle(t)
	// Their controllers write there as well, so no version of them is insisted on.
	hpa := o.object(t, "autoscaling/v2", "HorizontalPodAutoscaler", "istio-system", "istiod")
	noError(t, "write an autoscaler's status", o.client.Status().Patch(t.Context(), hpa,
		client.RawPatch(types.MergePatchType, []byte(`{"status":{"desiredReplicas":7}}`))))
	deployment := o.object(t, "apps/v1", "Deployment", "istio-system", "istiod")
	noError(t, "write a Deployment's status", o.client.Status().Patch(t.Context(), deployment,
		client.RawPatch(types.MergePatchType, []byte(`{"status":{"collisionCount":1}}`))))
	o.eventually(t, "it has looked at the Deployment's status", func(context.Context) error {
		if now := o.sum(t, "controller_runtime_reconcile_total"); now <= passes {
			return fmt.Errorf("%v passes", now)
		}
		return nil
	})
	after, asked := o.settle(t)
	t.Logf("%v passes made %v requests; %.0f MiB resident", after-passes, asked-requests, o.sum(t, "process_resident_memory_bytes")/(1<<20))
	if asked-requests > 3*(after-passes) {
		t.Errorf("%v passes made %v requests", after-passes, asked-requests)
	}
}

// What others change or delete is put right, each time with an Event.
func testOperatedDrift(t *testing.T, o *operated) {
	const version, namespace = "apps/v1", "istio-system"
	repairs := o.repairs(t)
	for i, drift := range []struct {
		reason   string
		change   func()
		repaired func() error
	}{
		{
			"an edited image", func() {
				o.update(t, o.object(t, version, "Deployment", namespace, "istiod"), "somebody", func(d *unstructured.Unstructured) {
					containers, _, _ := unstructured.NestedSlice(d.Object, "spec", "template", "spec", "containers")
					containers[0].(map[string]any)["image"] = "evil/pilot:1"
					_ = unstructured.SetNestedSlice(d.Object, containers, "spec", "template", "spec", "containers")
				})
			}, func() error {
				d := o.object(t, version, "Deployment", namespace, "istiod")
				return has(d, "registry.istio.io/release/pilot:1.31.1", "spec", "template", "spec", "containers", "0", "image")
			},
		},
		{
			"a deleted Service",
			func() { o.remove(t, o.object(t, "v1", "Service", namespace, "istiod")) },
			func() error { return o.exists(t, "v1", "Service", namespace, "istiod") },
		},
		{
			"a deleted ClusterRole",
			func() {
				o.remove(t, o.object(t, "rbac.authorization.k8s.io/v1", "ClusterRole", "", "istiod-clusterrole-istio-system"))
			},
			func() error {
				return o.exists(t, "rbac.authorization.k8s.io/v1", "ClusterRole", "", "istiod-clusterrole-istio-system")
			},
		},
		{
			"a removed owner label", func() {
				o.patch(t, o.object(t, "v1", "ConfigMap", namespace, "istio"), `{"metadata":{"labels":{"install.operator.istio.io/owning-resource":null}}}`)
			}, func() error {
				return has(o.object(t, "v1", "ConfigMap", namespace, "istio"), "mesh", "metadata", "labels", "install.operator.istio.io/owning-resource")
			},
		},
		{
			"a CRD's schema", func() {
				crd := o.object(t, "apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "gateways.networking.istio.io")
				o.update(t, crd, "somebody", func(crd *unstructured.Unstructured) {
					versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
					_ = unstructured.SetNestedField(versions[0].(map[string]any), "edited", "schema", "openAPIV3Schema", "properties", "spec", "description")
					_ = unstructured.SetNestedSlice(crd.Object, versions, "spec", "versions")
				})
			}, func() error {
				crd := o.object(t, "apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "gateways.networking.istio.io")
				if err := has(crd, "edited", "spec", "versions", "0", "schema", "openAPIV3Schema", "properties", "spec", "description"); err == nil {
					return fmt.Errorf("still edited")
				}
				return nil
			},
		},
	} {
		drift.change()
		o.eventually(t, drift.reason, func(context.Context) error { return drift.repaired() })
		o.waitRepaired(t, drift.reason+" is counted", repairs+float64(i)+1)
	}
	o.eventually(t, "an Event for each", func(context.Context) error {
		if notes := o.events(t, "istio-system", "mesh", "DriftRepaired"); len(notes) != 5 {
			return fmt.Errorf("%d, want 5:\n%s", len(notes), strings.Join(notes, "\n"))
		}
		return nil
	})
	o.waitStatus(t, "istio-system", "mesh", "HEALTHY")
}

// What istiod and autoscalers write stays, and nobody fights.
func testOthersFields(t *testing.T, o *operated) {
	repairs, caBundle := o.repairs(t), base64.StdEncoding.EncodeToString(o.cp.Config().CAData)
	webhooks := []struct{ kind, name string }{
		{"ValidatingWebhookConfiguration", "istio-validator-istio-system"}, {"MutatingWebhookConfiguration", "istio-sidecar-injector"},
	}
	for _, w := range webhooks {
		o.patchWebhooks(t, w.kind, w.name, "Fail", caBundle)
	}
	istiod := o.object(t, "apps/v1", "Deployment", "istio-system", "istiod")
	scale := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": map[string]any{"replicas": int64(2)}}}
	noError(t, "scale as an autoscaler does", o.client.SubResource("scale").Update(t.Context(), istiod.DeepCopy(), client.WithSubResourceBody(scale)))
	// A later repair of the same objects keeps them as well.
	o.patch(t, o.object(t, "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "", "istio-validator-istio-system"), `{"metadata":{"labels":{"app":"edited"}}}`)
	o.patch(t, istiod, `{"metadata":{"labels":{"app":"edited"}}}`)
	o.waitRepaired(t, "two repairs", repairs+2)
	o.waitStatus(t, "istio-system", "mesh", "HEALTHY")
	passes, _ := o.settle(t)
	for _, w := range webhooks {
		u := o.object(t, "admissionregistration.k8s.io/v1", w.kind, "", w.name)
		noError(t, "failurePolicy", has(u, "Fail", "webhooks", "0", "failurePolicy"))
		noError(t, "caBundle", has(u, caBundle, "webhooks", "0", "clientConfig", "caBundle"))
	}
	noError(t, "replicas", has(o.object(t, "apps/v1", "Deployment", "istio-system", "istiod"), "2", "spec", "replicas"))
	if again, _ := o.settle(t); again != passes {
		t.Errorf("it goes on working: %v passes after %v", again, passes)
	}
	if err := o.repaired(t, repairs+2); err != nil {
		t.Errorf("somebody else's fields count as drift: %v", err)
	}
	// Whatever the operator reads is out of date as soon as it has read it, and still nothing of it is drift.
	for i := range 300 {
		o.patch(t, istiod, fmt.Sprintf(`{"metadata":{"annotations":{"example.com/count":"%d"}}}`, i))
	}
	o.settle(t)
	if err := o.repaired(t, repairs+2); err != nil {
		t.Errorf("somebody else's annotations count as drift: %v", err)
	}
	// As rendered again, for what follows.
	o.patchWebhooks(t, webhooks[0].kind, webhooks[0].name, "Ignore", caBundle)
}

// patchWebhooks writes what istiod writes.
func (o *operated) patchWebhooks(t *testing.T, kind, name, failurePolicy, caBundle string) {
	t.Helper()
	o.update(t, o.object(t, "admissionregistration.k8s.io/v1", kind, "", name), "pilot-discovery", func(u *unstructured.Unstructured) {
		webhooks, _, _ := unstructured.NestedSlice(u.Object, "webhooks")
		for _, w := range webhooks {
			fields := w.(map[string]any)
			fields["failurePolicy"] = failurePolicy
			fields["clientConfig"].(map[string]any)["caBundle"] = caBundle
		}
		_ = unstructured.SetNestedSlice(u.Object, webhooks, "webhooks")
	})
}

// A spec that Istio refuses is reported once, and what is installed stays as it is.
func testInvalidSpec(t *testing.T, o *operated) {
	mesh := o.iop(t, "istio-system", "mesh")
	before := o.ownedBy(t, "istio-system", "mesh")
	istiod := withoutStatus(o.object(t, "apps/v1", "Deployment", "istio-system", "istiod"))
	for _, fault := range []struct{ reason, patch, undo, message string }{
		{"an unknown profile", `{"spec":{"profile":"defalt"}}`, `{"spec":{"profile":"default"}}`, "defalt"},
		{"a wrong type", `{"spec":{"components":{"pilot":{"enabled":"perhaps"}}}}`, `{"spec":{"components":null}}`, "enabled"},
		{"an unknown field", `{"spec":{"components":{"pilto":{"enabled":false}}}}`, `{"spec":{"components":null}}`, "pilto"},
		{"the operator's file system", `{"spec":{"installPackagePath":"/etc"}}`, `{"spec":{"installPackagePath":null}}`, "installPackagePath"},
	} {
		o.patch(t, mesh, fault.patch)
		u := o.waitStatus(t, "istio-system", "mesh", "ERROR", fault.message)
		noError(t, fault.reason, has(u, "Stalled", "status", "conditions", "1", "type"))
		o.settle(t)
		if now := o.iop(t, "istio-system", "mesh"); now.GetResourceVersion() != u.GetResourceVersion() {
			t.Errorf("%s: the status is written again and again", fault.reason)
		}
		if after := o.ownedBy(t, "istio-system", "mesh"); !slices.Equal(before, after) {
			t.Errorf("%s: it owns %v, want %v", fault.reason, after, before)
		}
		o.patch(t, mesh, fault.undo)
		o.waitStatus(t, "istio-system", "mesh", "HEALTHY")
	}
	if notes := o.events(t, "istio-system", "mesh", "InvalidSpec"); len(notes) != 4 {
		t.Errorf("%d Events, want 4:\n%s", len(notes), strings.Join(notes, "\n"))
	}
	if diff := cmp.Diff(istiod, withoutStatus(o.object(t, "apps/v1", "Deployment", "istio-system", "istiod"))); diff != "" {
		t.Errorf("istiod was written (-before +after):\n%s", diff)
	}
}

// What the API server refuses shows in the status, and is tried again until it works.
func testRefused(t *testing.T, o *operated) {
	o.mustApply(t, strings.ReplaceAll(`
apiVersion: v1
kind: ResourceQuota
metadata: {namespace: istio-system, name: none}
spec: {hard: {count/services: "2"}}
`, "\t", ""))
	o.eventually(t, "the quota is in force", func(context.Context) error {
		return has(o.object(t, "v1", "ResourceQuota", "istio-system", "none"), "2", "status", "used", "count/services")
	})
	mesh := o.iop(t, "istio-system", "mesh")
	o.patch(t, mesh, `{"spec":{"components":{"egressGateways":[{"name":"istio-egressgateway","enabled":true}]}}}`)
	u := o.waitStatus(t, "istio-system", "mesh", "ERROR", "EgressGateways", "exceeded quota: none")
	noError(t, "the component", has(u, "ERROR", "status", "componentStatus", "EgressGateways", "status"))
	noError(t, "another component", has(u, "HEALTHY", "status", "componentStatus", "Pilot", "status"))
	o.event(t, "ComponentFailed", "IstioOperator", "istio-system", "mesh", "exceeded quota")
	o.remove(t, o.object(t, "v1", "ResourceQuota", "istio-system", "none"))
	o.waitStatus(t, "istio-system", "mesh", "HEALTHY")
}

// A change that Kubernetes does not allow is left to people.
func testImmutable(t *testing.T, o *operated) {
	mesh := o.iop(t, "istio-system", "mesh")
	gateway := o.object(t, "apps/v1", "Deployment", "istio-system", "istio-egressgateway")
	o.patch(t, mesh, `{"spec":{"components":{"egressGateways":[{"name":"istio-egressgateway","enabled":true,"label":{"istio":"egressgateway","app":"another"}}]}}}`)
	o.waitStatus(t, "istio-system", "mesh", "ERROR", "Deployment/istio-system/istio-egressgateway", "immutable", "Delete the object")
	if now := o.object(t, "apps/v1", "Deployment", "istio-system", "istio-egressgateway"); now.GetUID() != gateway.GetUID() {
		t.Error("it was deleted")
	}
	o.remove(t, gateway)
	o.waitStatus(t, "istio-system", "mesh", "HEALTHY")
}

func testUpgrade(t *testing.T, o *operated) {
	o.patch(t, o.iop(t, "istio-system", "mesh"), `{"spec":{"tag":"1.31.2"}}`)
	u := o.waitStatus(t, "istio-system", "mesh", "HEALTHY")
	noError(t, "the version", has(u, "1.31.2", "status", "version"))
	if note := o.event(t, "Upgraded", "IstioOperator", "istio-system", "mesh"); note != "From 1.31.1 to 1.31.2." {
		t.Errorf("the Event says %q", note)
	}
	o.compareToIstio(t, "istio-system", "mesh", strings.Replace(istioOperator("istio-system", "mesh", egress), "1.31.1", "1.31.2", 1))
}

// egress is the spec that testImmutable leaves behind.
const egress = `  profile: default
  components: {egressGateways: [{name: istio-egressgateway, enabled: true, label: {istio: egressgateway, app: another}}]}`

func testPruned(t *testing.T, o *operated) {
	o.patch(t, o.iop(t, "istio-system", "mesh"), `{"spec":{"components":null}}`)
	o.waitGone(t, o.object(t, "apps/v1", "Deployment", "istio-system", "istio-egressgateway"))
	u := o.waitStatus(t, "istio-system", "mesh", "HEALTHY")
	o.event(t, "Pruned", "IstioOperator", "istio-system", "mesh", "Deployment istio-system/istio-egressgateway")
	noError(t, "the component is forgotten", has(u, "<nil>", "status", "componentStatus", "EgressGateways"))
	o.compareToIstio(t, "istio-system", "mesh", strings.Replace(istioOperator("istio-system", "mesh", "  profile: default"), "1.31.1", "1.31.2", 1))
}

// Nothing is left but the CRDs that users have objects of.
func testOperatedDeletion(t *testing.T, o *operated) {
	mesh, gateway := o.iop(t, "istio-system", "mesh"), o.object(t, "apps/v1", "Deployment", "istio-system", "istio-ingressgateway")
	o.patch(t, gateway, `{"metadata":{"finalizers":["example.com/hold"]}}`)
	o.remove(t, mesh)
	o.waitStatus(t, "istio-system", "mesh", "RECONCILING", "waits until these are gone: Deployment istio-system/istio-ingressgateway")
	o.settle(t)
	if istiod := o.object(t, "apps/v1", "Deployment", "istio-system", "istiod"); istiod.GetDeletionTimestamp() != nil {
		t.Error("istiod goes before the gateways")
	}
	o.patch(t, gateway, `{"metadata":{"finalizers":null}}`)
	o.waitGone(t, mesh)
	if got, want := o.ownedBy(t, "istio-system", "mesh"), []string{"CustomResourceDefinition /virtualservices.networking.istio.io"}; !slices.Equal(got, want) {
		t.Errorf("left behind: %v, want %v", got, want)
	}
	o.event(t, "CRDKept", "IstioOperator", "istio-system", "mesh", "virtualservices.networking.istio.io")
	noError(t, "the users' object", o.exists(t, "networking.istio.io/v1", "VirtualService", "default", "users"))

	o.mustApply(t, istioOperator("istio-system", "mesh", "  profile: minimal"))
	o.waitStatus(t, "istio-system", "mesh", "HEALTHY")
	users := o.object(t, "networking.istio.io/v1", "VirtualService", "default", "users")
	o.remove(t, users)
	mesh = o.iop(t, "istio-system", "mesh")
	o.remove(t, mesh)
	o.waitGone(t, mesh)
	if got := o.ownedBy(t, "istio-system", "mesh"); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
}
