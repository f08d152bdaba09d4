package istio_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// serviceByKubernetes translates a Service by way of Kubernetes' own type. Application is left out.
func serviceByKubernetes(s *istio.Service) (*policy.Service, error) {
	var spec corev1.ServiceSpec
	if err := utiljson.Unmarshal(s.Spec, &spec); err != nil {
		return nil, err
	}
	out := &policy.Service{
		Key: policy.Key{Namespace: s.Namespace, Name: s.Name}, Created: createdOf(s),
		Selector: spec.Selector, External: spec.Type == corev1.ServiceTypeExternalName,
	}
	for _, p := range spec.Ports {
		if p.Protocol == "" {
			p.Protocol = corev1.ProtocolTCP
		}
		if p.TargetPort == intstr.FromInt32(0) || p.TargetPort == intstr.FromString("") {
			p.TargetPort = intstr.FromInt32(p.Port)
		}
		port := policy.ServicePort{Number: uint32(p.Port), Protocol: string(p.Protocol), TargetName: p.TargetPort.StrVal}
		port.Target = uint32(p.TargetPort.IntVal)
		out.Ports = append(out.Ports, port)
	}
	return out, nil
}

// workloadByKubernetes translates a Deployment by way of Kubernetes' own type. What makes a workload a gateway is left out.
func workloadByKubernetes(d *istio.Deployment) (*policy.Workload, error) {
	var spec appsv1.DeploymentSpec
	if err := utiljson.Unmarshal(d.Spec, &spec); err != nil {
		return nil, err
	}
	pod := spec.Template.Spec
	out := &policy.Workload{
		Reference: policy.Ref{Kind: policy.KindDeployment, Key: policy.Key{Namespace: d.Namespace, Name: d.Name}},
		Labels:    spec.Template.Labels, HostNetwork: pod.HostNetwork,
	}
	beside := slices.DeleteFunc(pod.InitContainers, func(c corev1.Container) bool {
		return c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways
	})
	for _, c := range slices.Concat(pod.Containers, beside) {
		for _, p := range c.Ports {
			if p.Protocol == "" {
				p.Protocol = corev1.ProtocolTCP
			}
			if p.Name != "" {
				out.Ports = append(out.Ports, policy.ContainerPort{Name: p.Name, Protocol: string(p.Protocol), Number: uint32(p.ContainerPort)})
			}
		}
	}
	return out, nil
}

// compareWithKubernetes translates the object both ways: what Kubernetes reads, the package reads as well and to the same
// values.
func compareWithKubernetes(t *testing.T, o istio.Object) {
	t.Helper()
	var want policy.Resource
	var fault error
	switch o := o.(type) {
	case *istio.Service:
		want, fault = serviceByKubernetes(o)
	case *istio.Deployment:
		want, fault = workloadByKubernetes(o)
	}
	if fault != nil {
		return
	}
	got, err := istio.Translator{}.Translate(o)
	if err != nil {
		if strings.Contains(err.Error(), "must be a whole number") || strings.Contains(err.Error(), "must be a port's number") {
			return // a number below zero, which no API server stores
		}
		t.Fatalf("Kubernetes reads what we do not: %v", err)
	}
	ignored := cmp.Options{
		cmpopts.EquateEmpty(),
		cmpopts.IgnoreFields(policy.ServicePort{}, "Application"),
		cmpopts.IgnoreFields(policy.Service{}, "KeepsGatewayPorts"),
		cmpopts.IgnoreFields(policy.Workload{}, "Router", "Unprivileged"),
	}
	if diff := cmp.Diff(want, got, ignored); diff != "" {
		t.Errorf("values (-Kubernetes +ours):\n%s", diff)
	}
}

func TestSameValuesAsKubernetesTypes(t *testing.T) {
	for _, o := range fixtureObjects(t, policy.KindService, policy.KindDeployment) {
		compareWithKubernetes(t, o)
	}
}

func FuzzTranslateService(f *testing.F) {
	fuzzKubernetes(f, policy.KindService,
		`{"type":"ExternalName"}`, `{"selector":{"a":"b"},"ports":[{"port":80,"targetPort":8080},{"port":443,"targetPort":"https"}]}`,
		`{"ports":[{"port":80},{"port":80,"targetPort":0},{"port":80,"targetPort":""},{"port":80,"targetPort":null,"protocol":"UDP"}]}`)
}

func FuzzTranslateDeployment(f *testing.F) {
	fuzzKubernetes(f, policy.KindDeployment,
		`{"template":{"metadata":{"labels":{"a":"b"}},"spec":{"hostNetwork":true,"containers":[{"args":["proxy","router"],"ports":[{"name":"a","containerPort":1}]}]}}}`,
		`{"template":{"spec":{"initContainers":[{"restartPolicy":"Always","ports":[{"name":"a","containerPort":1,"protocol":"UDP"}]},{"ports":[{"name":"b"}]}]}}}`)
}

func fuzzKubernetes(f *testing.F, kind policy.Kind, specs ...string) {
	for _, o := range fixtureObjects(f, kind) {
		f.Add([]byte(*specOf(o)))
	}
	for _, spec := range specs {
		f.Add([]byte(spec))
	}
	f.Fuzz(func(t *testing.T, spec []byte) {
		o, _ := istio.NewObject(kind)
		*specOf(o) = bytes.Clone(spec)
		_, _ = istio.Translator{}.Translate(o)
		if stored, ok := asStored(spec); ok {
			*specOf(o) = stored
			compareWithKubernetes(t, o)
		}
	})
}
