package istio_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// TestTranslateWorkload translates each pod as the template of a Deployment and as a Pod of its own.
func TestTranslateWorkload(t *testing.T) {
	type text = map[string]string
	tests := []struct {
		reason              string
		labels, annotations text
		spec                string
		want                policy.Workload
	}{
		{"nothing", nil, nil, `{}`, policy.Workload{}},
		{"labels", text{"a": "b"}, nil, `{}`, policy.Workload{Labels: text{"a": "b"}}},
		{"the template of a gateway", nil, text{"inject.istio.io/templates": "gateway"}, `{}`, policy.Workload{Router: true}},
		{"the template of a gateway among others", nil, text{"inject.istio.io/templates": "custom, gateway"}, `{}`, policy.Workload{Router: true}},
		{"another template", nil, text{"inject.istio.io/templates": "sidecar,my-gateway"}, `{}`, policy.Workload{}},
		{"the template is no label", text{"inject.istio.io/templates": "gateway"}, nil, `{}`, policy.Workload{Labels: text{"inject.istio.io/templates": "gateway"}}},
		{"a container that starts a router", nil, nil, `{"containers":[{},{"args":["proxy","router","--domain","a"]}]}`, policy.Workload{Router: true}},
		{"by its command", nil, nil, `{"containers":[{"command":["proxy","router"]}]}`, policy.Workload{Router: true}},
		{"by its command, with the program", nil, nil, `{"containers":[{"command":["/usr/local/bin/pilot-agent","proxy","router"]}]}`, policy.Workload{Router: true}},
		{"by both", nil, nil, `{"containers":[{"command":["pilot-agent","proxy"],"args":["router"]}]}`, policy.Workload{Router: true}},
		{"by its arguments after a command of several words", nil, nil, `{"containers":[{"command":["sh","-c"],"args":["proxy","router"]}]}`, policy.Workload{Router: true}},
		{"a sidecar", nil, nil, `{"containers":[{"args":["proxy","sidecar"]}],"initContainers":[{"args":["istio-iptables"]}]}`, policy.Workload{}},
		{"the words later on", nil, nil, `{"containers":[{"args":["run","it","proxy","router"]}]}`, policy.Workload{}},
		{"one word", nil, nil, `{"containers":[{"args":["proxy"]},{"command":["router"]}]}`, policy.Workload{}},
		{"unprivileged", nil, nil, `{"containers":[{"env":[{"name":"A"},{"name":"ISTIO_META_UNPRIVILEGED_POD","value":"true"}]}]}`, policy.Workload{Unprivileged: true}},
		{"unprivileged, as Go spells truth", nil, nil, `{"containers":[{"env":[{"name":"ISTIO_META_UNPRIVILEGED_POD","value":"1"}]}]}`, policy.Workload{Unprivileged: true}},
		{"not unprivileged", nil, nil, `{"containers":[{"env":[{"name":"ISTIO_META_UNPRIVILEGED_POD","value":"false"}]}]}`, policy.Workload{}},
		{"no truth value", nil, nil, `{"containers":[{"env":[{"name":"ISTIO_META_UNPRIVILEGED_POD","value":"yes"},{"name":"A","value":"true"}]}]}`, policy.Workload{}},
		{"the node's network", nil, nil, `{"hostNetwork":true}`, policy.Workload{HostNetwork: true}},
		{
			"named ports of every container, in order", nil, nil,
			`{"initContainers":[{"ports":[{"name":"early","containerPort":1}]},{"restartPolicy":"Always","ports":[{"name":"beside","containerPort":2}]}],
				"containers":[{"ports":[{"name":"http","containerPort":8080},{"containerPort":15021}]},{"ports":[{"name":"quic","containerPort":8443,"protocol":"UDP"}]}]}`,
			policy.Workload{Ports: []policy.ContainerPort{
				{Name: "http", Protocol: "TCP", Number: 8080}, {Name: "quic", Protocol: "UDP", Number: 8443}, {Name: "beside", Protocol: "TCP", Number: 2},
			}},
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			meta, err := json.Marshal(map[string]text{"labels": tc.labels, "annotations": tc.annotations})
			if err != nil {
				t.Fatal(err)
			}
			template := json.RawMessage(fmt.Sprintf(`{"selector":{"matchLabels":{"not":"these"}},"template":{"metadata":%s,"spec":%s}}`, meta, tc.spec))
			own := metav1.ObjectMeta{Namespace: "edge", Name: "ingress", Labels: text{"owner's": "label"}, Annotations: text{"inject.istio.io/templates": "gateway"}}
			pod := own
			pod.Labels, pod.Annotations = tc.labels, tc.annotations
			pod.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Controller: new(true)}}
			for kind, o := range map[policy.Kind]istio.Object{
				policy.KindDeployment:  &istio.Deployment{ObjectMeta: own, Spec: template},
				policy.KindDaemonSet:   &istio.DaemonSet{ObjectMeta: own, Spec: template},
				policy.KindStatefulSet: &istio.StatefulSet{ObjectMeta: own, Spec: template},
				policy.KindPod:         &istio.Pod{ObjectMeta: pod, Spec: json.RawMessage(tc.spec)},
			} {
				got, err := istio.Translator{}.Translate(o)
				if err != nil {
					t.Fatal(err)
				}
				want := tc.want
				want.Reference = policy.Ref{Kind: kind, Key: policy.Key{Namespace: "edge", Name: "ingress"}}
				if diff := cmp.Diff(policy.Resource(&want), got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", kind, diff)
				}
			}
		})
	}
}

func TestTranslateService(t *testing.T) {
	tests := []struct {
		reason, spec string
		labels       map[string]string
		want         policy.Service
	}{
		{"nothing", `{}`, nil, policy.Service{}},
		{"a selector", `{"selector":{"istio":"ingress"}}`, nil, policy.Service{Selector: map[string]string{"istio": "ingress"}}},
		{"outside of the mesh", `{"type":"ExternalName","externalName":"example.com"}`, nil, policy.Service{External: true}},
		{"inside", `{"type":"LoadBalancer"}`, nil, policy.Service{}},
		{
			"a port's target by number, by name and as it is filled in",
			`{"ports":[{"port":80,"targetPort":8080},{"port":443,"targetPort":"https"},{"port":1},{"port":2,"targetPort":0},{"port":3,"targetPort":""},{"port":4,"targetPort":null}]}`,
			nil,
			policy.Service{Ports: []policy.ServicePort{
				{Number: 80, Protocol: "TCP", Target: 8080},
				{Number: 443, Protocol: "TCP", TargetName: "https"},
				{Number: 1, Protocol: "TCP", Target: 1},
				{Number: 2, Protocol: "TCP", Target: 2},
				{Number: 3, Protocol: "TCP", Target: 3},
				{Number: 4, Protocol: "TCP", Target: 4},
			}},
		},
		{
			"protocols", `{"ports":[{"port":80,"protocol":"UDP","name":"http"},{"port":81,"name":"http2-web"},{"port":82,"name":"http","appProtocol":"tls"}]}`, nil,
			policy.Service{Ports: []policy.ServicePort{
				{Number: 80, Protocol: "UDP", Application: "UDP", Target: 80},
				{Number: 81, Protocol: "TCP", Application: "HTTP2", Target: 81},
				{Number: 82, Protocol: "TCP", Application: "TLS", Target: 82},
			}},
		},
		{"ports that are kept, whatever the label says", `{}`, map[string]string{"experimental.istio.io/disable-gateway-port-translation": "false"}, policy.Service{KeepsGatewayPorts: true}},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			s := &istio.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "edge", Name: "ingress", Labels: tc.labels}, Spec: json.RawMessage(tc.spec)}
			s.CreationTimestamp = metav1.Unix(7, 0)
			got, err := istio.Translator{}.Translate(s)
			if err != nil {
				t.Fatal(err)
			}
			tc.want.Key, tc.want.Created = policy.Key{Namespace: "edge", Name: "ingress"}, 7
			if diff := cmp.Diff(policy.Resource(&tc.want), got); diff != "" {
				t.Errorf("Service (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTranslateCreated(t *testing.T) {
	g := gatewayOf(`{}`)
	for _, tc := range []struct {
		reason  string
		created metav1.Time
		want    int64
	}{
		{"no time", metav1.Time{}, 0},
		{"a time, of which the seconds count", metav1.Time{Time: time.Unix(7, 999)}, 7},
	} {
		g.CreationTimestamp = tc.created
		got, err := istio.Translator{}.Gateway(g)
		if err != nil {
			t.Fatal(err)
		}
		if got.Created != tc.want {
			t.Errorf("%s: created at %d, want %d", tc.reason, got.Created, tc.want)
		}
	}
}

func TestTranslateWorkloadErrors(t *testing.T) {
	deployment := func(spec string) istio.Object { return &istio.Deployment{Spec: json.RawMessage(spec)} }
	service := func(spec string) istio.Object { return &istio.Service{Spec: json.RawMessage(spec)} }
	tests := []struct {
		reason string
		object istio.Object
		want   string
	}{
		{"a template of another type", deployment(`{"template":[]}`), "spec.template: must be an object, not a list"},
		{"labels of another type", deployment(`{"template":{"metadata":{"labels":{"a":1}}}}`), "spec.template.metadata.labels: must be a string, not a number"},
		{"hostNetwork that is text", deployment(`{"template":{"spec":{"hostNetwork":"true"}}}`), "spec.template.spec.hostNetwork: must be true or false, not a string"},
		{"a port below zero", deployment(`{"template":{"spec":{"containers":[{"ports":[{"containerPort":-1}]}]}}}`), "spec.template.spec.containers.ports.containerPort: must be a whole number from 0 to 4294967295, not a number -1"},
		{"a Pod's containers of another type", &istio.Pod{Spec: json.RawMessage(`{"containers":{}}`)}, "spec.containers: must be a list, not an object"},
		{"a selector of another type", service(`{"selector":["a"]}`), "spec.selector: must be an object, not a list"},
		{"a target of another type", service(`{"ports":[{"port":80},{"port":81,"targetPort":true}]}`), "spec.ports[1].targetPort: must be a port's number or name, not true"},
		{"a target below zero", service(`{"ports":[{"port":80,"targetPort":-1}]}`), "spec.ports[0].targetPort: must be a port's number or name, not -1"},
		{"a ConfigMap, which is for ParseMeshConfig", &istio.ConfigMap{}, "not an object of the mesh: *istio.ConfigMap"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			got, err := istio.Translator{}.Translate(tc.object)
			if got != nil {
				t.Errorf("Translate returns %v beside its error", got)
			}
			if err == nil || err.Error() != tc.want {
				t.Errorf("Translate: %v, want %q", err, tc.want)
			}
		})
	}
}
