package bootstrap

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestDifference(t *testing.T) {
	const meta = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system"
	cases := map[string]struct {
		reason        string
		live, applied *unstructured.Unstructured
		want          string
	}{
		"Equal": {
			reason: "what the API server keeps books about is no difference",
			live: object(meta + `, uid: u, resourceVersion: "7", generation: 3, creationTimestamp: "2026-01-01T00:00:00Z", managedFields: [{manager: x}]}
data: {mesh: a}
status: {x: y}`),
			applied: object(meta + "}\ndata: {mesh: a}"),
		},
		"New": {
			reason: "the whole object", applied: object(meta + "}\ndata: {mesh: a}"),
			want: `--- /dev/null
+++ document: ConfigMap istio-system/istio
@@ -0,0 +1,7 @@
+apiVersion: v1
+data:
+  mesh: a
+kind: ConfigMap
+metadata:
+  name: istio
+  namespace: istio-system
`,
		},
		"Changed": {
			reason: "the lines around it", live: object(meta + "}\ndata: {mesh: a}"), applied: object(meta + "}\ndata: {mesh: b}"),
			want: `--- cluster: ConfigMap istio-system/istio
+++ document: ConfigMap istio-system/istio
@@ -1,6 +1,6 @@
 apiVersion: v1
 data:
-  mesh: a
+  mesh: b
 kind: ConfigMap
 metadata:
   name: istio
`,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := difference(c.live, c.applied)
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
				t.Errorf("%s (-want +got), error %v:\n%s", c.reason, err, diff)
			}
		})
	}
}

func TestConcede(t *testing.T) {
	const meta = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: v, labels: {"
	live := object(meta + `operator.istio.io/version: v1, app: before}}
webhooks:
- {name: a, failurePolicy: Fail, clientConfig: {caBundle: eA==}, timeoutSeconds: 5}
- {name: gone, failurePolicy: Fail}`)
	applied := object(meta + `app: after}}
webhooks:
- {name: a, failurePolicy: Ignore, clientConfig: {}, timeoutSeconds: 10}
- {name: new, failurePolicy: Ignore}`)
	concede(applied, live, false)
	want := object(meta + `operator.istio.io/version: v1, app: after}}
webhooks:
- {name: a, failurePolicy: Fail, clientConfig: {caBundle: eA==}, timeoutSeconds: 10}
- {name: new, failurePolicy: Ignore}`)
	if diff := cmp.Diff(want, applied); diff != "" {
		t.Errorf("the operator leaves to others what istiod fills in, and changes the rest (-want +got):\n%s", diff)
	}
}

func TestConcedeReplicas(t *testing.T) {
	const deployment = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: istiod}, spec: {replicas: "
	for byAutoscaler, want := range map[bool]string{true: "5}}", false: "2}}"} {
		applied := object(deployment + "2}}")
		concede(applied, object(deployment+"5}}"), byAutoscaler)
		if diff := cmp.Diff(object(deployment+want), applied); diff != "" {
			t.Errorf("by an autoscaler: %t: only then are the replicas its own (-want +got):\n%s", byAutoscaler, diff)
		}
	}
}
