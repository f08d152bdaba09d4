package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/serviceregistry/kube/controller"
	"istio.io/istio/pkg/kube"
	"istio.io/istio/pkg/test"
	"istio.io/istio/pkg/test/util/retry"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestTargets holds the suite's own reading of Services to Istio's registry for Kubernetes, which the generator is run
// without.
func TestTargets(t *testing.T) {
	quiet()
	generator := NewAlignmentGenerator(*seed)
	for i := range 200 {
		w := generator.Draw(i, NewToken(i)).World
		if len(w.Services) == 0 {
			continue
		}
		if err := test.Wrap(func(f test.Failer) { compareTargets(t, f, i, w) }); err != nil {
			t.Fatalf("case %d: %v", i, err)
		}
	}
}

func compareTargets(t *testing.T, f test.Failer, number int, w *World) {
	client := kube.NewFakeClient()
	for _, s := range w.Services {
		if _, err := client.Kube().CoreV1().Services(s.Namespace).Create(t.Context(), defaulted(s), metav1.CreateOptions{}); err != nil {
			f.Fatal(err)
		}
	}
	address := func(n int) string { return fmt.Sprintf("10.9.0.%d", n+1) }
	for n, o := range w.Workloads {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name, Labels: o.Labels}, Spec: o.Template().Spec,
			Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: address(n), PodIPs: []corev1.PodIP{{IP: address(n)}}},
		}
		if _, err := client.Kube().CoreV1().Pods(o.Namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			f.Fatal(err)
		}
	}
	registry, _ := controller.NewFakeControllerWithOptions(f, controller.FakeControllerOptions{
		Client: client, DomainSuffix: w.Settings.clusterDomain(),
	})
	for n, o := range w.Workloads {
		want := written(o.Proxy(w.Services).Targets)
		proxy := &model.Proxy{
			Type: model.Router, ID: o.Name + "." + o.Namespace, IPAddresses: []string{address(n)}, ConfigNamespace: o.Namespace, Labels: o.Labels,
			Metadata: &model.NodeMetadata{Namespace: o.Namespace, ClusterID: registry.Cluster(), Labels: o.Labels},
		}
		retry.UntilSuccessOrFail(f, func() error {
			proxy.SetServiceTargets(registry.Controller)
			if got := written(proxy.ServiceTargets); got != want {
				return fmt.Errorf("case %d, %s: Istio has %s, the suite %s", number, o.Name, got, want)
			}
			return nil
		})
	}
}

func written(targets []model.ServiceTarget) string {
	var texts []string
	for _, t := range targets {
		texts = append(texts, fmt.Sprintf("%s/%s %d->%d", t.Service.Attributes.Namespace, t.Service.Attributes.Name, t.Port.Port, t.Port.TargetPort))
	}
	return strings.Join(slices.Clip(texts), ", ")
}
