package meshwarden

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// templateOf returns the pod template of an overlay, with the defaults that the API server would add and that count here.
func templateOf(t *testing.T, overlay Overlay) corev1.PodTemplateSpec {
	t.Helper()
	objects, err := Build(filepath.Join("..", "..", "manifests", "overlays", string(overlay)))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.GetKind() != "Deployment" {
			continue
		}
		deployment := appsv1.Deployment{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &deployment); err != nil {
			t.Fatal(err)
		}
		template := deployment.Spec.Template
		container := &template.Spec.Containers[0]
		for n := range container.Ports {
			container.Ports[n].Protocol = corev1.ProtocolTCP
		}
		for _, p := range []*corev1.Probe{container.ReadinessProbe, container.LivenessProbe, container.StartupProbe} {
			p.HTTPGet.Scheme = corev1.URISchemeHTTP
		}
		return template
	}
	t.Fatal("the overlay has no Deployment")
	return corev1.PodTemplateSpec{}
}

func TestArguments(t *testing.T) {
	at := placement{
		kubeconfig: "/r/kubeconfig",
		addresses:  map[string]string{webhookPort: "127.0.0.1:1", healthPort: "127.0.0.1:2", metricsPort: "127.0.0.1:3"},
		folders:    map[string]string{"/etc/meshwarden/certs": "/r/certs"},
	}
	here := []string{
		"--kubeconfig=/r/kubeconfig", "--namespace=meshwarden", "--bind-address=127.0.0.1:1", "--health-address=127.0.0.1:2",
		"--metrics-address=127.0.0.1:3", "--cert-dir=/r/certs",
	}
	tests := []struct {
		reason  string
		overlay Overlay
		more    []string
		want    []string
	}{
		{"only what depends on the place is added", CertManager, nil, []string{"serve"}},
		{"what the overlay says comes first", SelfManaged, nil, []string{"serve", "--certificate-secret=meshwarden-certificate"}},
		{
			"a path in a volume is where the volume is", CertManager,
			[]string{"--a=/etc/meshwarden/certs/ca.crt", "--b=/etc/meshwarden/certs", "--c=/etc/meshwarden/certs2"},
			[]string{"serve", "--a=/r/certs/ca.crt", "--b=/r/certs", "--c=/etc/meshwarden/certs2"},
		},
	}
	for _, tc := range tests {
		template := templateOf(t, tc.overlay)
		template.Namespace = Namespace
		template.Spec.Containers[0].Args = append(template.Spec.Containers[0].Args, tc.more...)
		p, err := readPod(template, "pod")
		if err != nil {
			t.Fatalf("%s: %v", tc.reason, err)
		}
		got, err := p.arguments(at)
		if diff := cmp.Diff(append(tc.want, here...), got); diff != "" || err != nil {
			t.Errorf("%s: error %v, arguments (-want +got):\n%s", tc.reason, err, diff)
		}
		if diff := cmp.Diff([]string{"GOMEMLIMIT=536870912"}, p.env); diff != "" || p.gracePeriod != 30*time.Second || p.serviceAccount != "meshwarden" {
			t.Errorf("%s: grace period %s, ServiceAccount %s, environment (-want +got):\n%s", tc.reason, p.gracePeriod, p.serviceAccount, diff)
		}
	}
}

// What the Deployment may come to say, and a process on this machine cannot be.
func TestNotPlayed(t *testing.T) {
	tests := []struct {
		reason string
		change func(*corev1.PodSpec, *corev1.Container)
		want   string
	}{
		{"another container", func(p *corev1.PodSpec, _ *corev1.Container) { p.Containers = append(p.Containers, corev1.Container{}) }, "2 containers"},
		{"a container before it", func(p *corev1.PodSpec, _ *corev1.Container) { p.InitContainers = []corev1.Container{{Name: "first"}} }, `"initContainers":[{"name":"first"`},
		{"the node's network", func(p *corev1.PodSpec, _ *corev1.Container) { p.HostNetwork = true }, `"hostNetwork":true`},
		{"no token", func(p *corev1.PodSpec, _ *corev1.Container) { p.AutomountServiceAccountToken = ptr.To(false) }, "does not ask for a token"},
		{"a command in place of the image's", func(_ *corev1.PodSpec, c *corev1.Container) { c.Command = []string{"sh"} }, `"command":["sh"]`},
		{"a hook", func(_ *corev1.PodSpec, c *corev1.Container) { c.Lifecycle = &corev1.Lifecycle{} }, `"lifecycle":{}`},
		{"an argument with a variable", func(_ *corev1.PodSpec, c *corev1.Container) { c.Args = []string{"--a=$(B)"} }, `"--a=$(B)" refers to a variable`},
		{"the environment out of a ConfigMap", func(_ *corev1.PodSpec, c *corev1.Container) { c.EnvFrom = []corev1.EnvFromSource{{}} }, "envFrom"},
		{"a variable out of a Secret", func(_ *corev1.PodSpec, c *corev1.Container) {
			c.Env = []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{}}}}
		}, "variable A"},
		{"a resource of the node", func(_ *corev1.PodSpec, c *corev1.Container) { c.Resources.Limits = nil }, "no limits.memory"},
		{"half a byte", func(_ *corev1.PodSpec, c *corev1.Container) {
			c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1500m")}
		}, "fractions"},
		{"a port of the node", func(_ *corev1.PodSpec, c *corev1.Container) { c.Ports[0].HostPort = 80 }, "port 9443"},
		{"no readiness", func(_ *corev1.PodSpec, c *corev1.Container) { c.ReadinessProbe = nil }, "probe is missing"},
		{"a probe by gRPC", func(_ *corev1.PodSpec, c *corev1.Container) {
			c.LivenessProbe.ProbeHandler = corev1.ProbeHandler{GRPC: &corev1.GRPCAction{}}
		}, "not by HTTP"},
		{"a probe of a port that is not there", func(_ *corev1.PodSpec, c *corev1.Container) { c.StartupProbe.HTTPGet.Port = intstr.FromString("other") }, "asks port other"},
		{"a volume of another kind", func(p *corev1.PodSpec, _ *corev1.Container) {
			p.Volumes[0].VolumeSource = corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
		}, "volume certificate is missing, or no Secret"},
		{"a part of a volume", func(_ *corev1.PodSpec, c *corev1.Container) { c.VolumeMounts[0].SubPath = "tls.crt" }, "volume certificate has"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			template := templateOf(t, CertManager)
			tc.change(&template.Spec, &template.Spec.Containers[0])
			if _, err := readPod(template, "pod"); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
	t.Run("a port that Meshwarden does not listen on", func(t *testing.T) {
		template := templateOf(t, CertManager)
		template.Spec.Containers[0].Ports[0].ContainerPort = 443
		p, err := readPod(template, "pod")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.arguments(placement{}); err == nil || !strings.Contains(err.Error(), "listens on 9443") {
			t.Errorf("error %v, want one about the port", err)
		}
	})
}
