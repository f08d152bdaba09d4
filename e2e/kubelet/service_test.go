package kubelet

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestLead(t *testing.T) {
	service := func(selector map[string]string, target intstr.IntOrString) corev1.Service {
		return corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
			Spec:       corev1.ServiceSpec{Selector: selector, Ports: []corev1.ServicePort{{Port: 443, TargetPort: target}}},
		}
	}
	endpoint := func(address string, ready bool) Endpoint {
		return Endpoint{
			Namespace: "shop", Labels: map[string]string{"app": "web", "version": "1"}, Ready: ready,
			Ports: []corev1.ContainerPort{{Name: "https", ContainerPort: 8443}}, Addresses: map[int32]string{8443: address},
		}
	}
	elsewhere := endpoint("c:1", true)
	elsewhere.Namespace = "other"
	web, key := map[string]string{"app": "web"}, ServicePort{"shop", "web", 443}
	headless := service(web, intstr.FromString("https"))
	headless.Spec.ClusterIP = corev1.ClusterIPNone
	tests := []struct {
		reason    string
		service   corev1.Service
		endpoints []Endpoint
		want      map[ServicePort][]string
	}{
		{"by the port's name", service(web, intstr.FromString("https")), []Endpoint{endpoint("a:1", true)}, map[ServicePort][]string{key: {"a:1"}}},
		{"by its number", service(web, intstr.FromInt32(8443)), []Endpoint{endpoint("a:1", true)}, map[ServicePort][]string{key: {"a:1"}}},
		{"to all that are ready", service(web, intstr.FromInt32(8443)), []Endpoint{endpoint("b:1", true), endpoint("a:1", true), endpoint("c:1", false)}, map[ServicePort][]string{key: {"a:1", "b:1"}}},
		{"nowhere, where none is ready", service(web, intstr.FromInt32(8443)), []Endpoint{endpoint("a:1", false)}, map[ServicePort][]string{key: {}}},
		{"nowhere, by a port that the pod does not have", service(web, intstr.FromInt32(1)), []Endpoint{endpoint("a:1", true)}, map[ServicePort][]string{key: {}}},
		{"not at all: other labels", service(map[string]string{"app": "web", "version": "2"}, intstr.FromInt32(8443)), []Endpoint{endpoint("a:1", true)}, map[ServicePort][]string{}},
		{"not at all: another namespace", service(web, intstr.FromInt32(8443)), []Endpoint{elsewhere}, map[ServicePort][]string{}},
		{"not at all: no selector", service(nil, intstr.FromInt32(8443)), []Endpoint{endpoint("a:1", true)}, map[ServicePort][]string{}},
		{"not at all: no address of its own", headless, []Endpoint{endpoint("a:1", true)}, map[ServicePort][]string{}},
	}
	for _, tc := range tests {
		if diff := cmp.Diff(tc.want, Lead([]corev1.Service{tc.service}, tc.endpoints)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
		}
	}
}
