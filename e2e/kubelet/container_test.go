package kubelet

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// examplePod has something of everything that is played, and of what is about nodes and containers.
func examplePod() *corev1.Pod {
	get := func(path, port string) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.Parse(port)}}}
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", UID: "1", Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{
			ServiceAccountName: "web", NodeName: "node-1", PriorityClassName: "high", Tolerations: []corev1.Toleration{{Key: "any"}},
			SecurityContext: &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](1)},
			Volumes: []corev1.Volume{
				{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "secret"}}},
				{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
				{Name: "not-mounted", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}},
			},
			Containers: []corev1.Container{{
				Name: "web", Image: "registry.example.com/web:1", Args: []string{"serve", "--name=$(NAME)", "--key=/etc/web/tls.key", "/etc/web"},
				Env: []corev1.EnvVar{
					{Name: "NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
					{Name: "WHERE", Value: "$(NAME).example.com"},
					{Name: "CERTIFICATE", Value: "/etc/web/tls.crt"},
				},
				Ports: []corev1.ContainerPort{
					{Name: "http", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}, {ContainerPort: 8081, Protocol: corev1.ProtocolTCP},
				},
				ReadinessProbe: get("/ready", "http"), LivenessProbe: get("/live", "8081"),
				VolumeMounts: []corev1.VolumeMount{
					{Name: "secret", MountPath: "/etc/web", ReadOnly: true, RecursiveReadOnly: ptr.To(corev1.RecursiveReadOnlyDisabled)},
					{Name: "tmp", MountPath: "/tmp"},
				},
			}},
		},
	}
}

func TestReadContainer(t *testing.T) {
	if c, err := readContainer(examplePod()); err != nil || c.Name != "web" {
		t.Errorf("container %v, error %v, want the pod's", c, err)
	}
}

// What a pod may say, and a process of this machine cannot be.
func TestNotPlayed(t *testing.T) {
	tests := []struct {
		reason string
		change func(*corev1.PodSpec, *corev1.Container)
		want   string
	}{
		{"another container", func(p *corev1.PodSpec, _ *corev1.Container) { p.Containers = append(p.Containers, corev1.Container{}) }, "2 containers"},
		{"a container before it", func(p *corev1.PodSpec, _ *corev1.Container) { p.InitContainers = []corev1.Container{{Name: "first"}} }, `"initContainers":[{"name":"first"`},
		{"the node's network", func(p *corev1.PodSpec, _ *corev1.Container) { p.HostNetwork = true }, `"hostNetwork":true`},
		{"a command in place of the image's", func(_ *corev1.PodSpec, c *corev1.Container) { c.Command = []string{"sh"} }, `"command":["sh"]`},
		{"a hook", func(_ *corev1.PodSpec, c *corev1.Container) { c.Lifecycle = &corev1.Lifecycle{} }, `"lifecycle":{}`},
		{"the environment out of a ConfigMap", func(_ *corev1.PodSpec, c *corev1.Container) { c.EnvFrom = []corev1.EnvFromSource{{}} }, `"envFrom"`},
		{"a port of the node", func(_ *corev1.PodSpec, c *corev1.Container) { c.Ports[0].HostPort = 80 }, "port 8080"},
		{"a port for datagrams", func(_ *corev1.PodSpec, c *corev1.Container) { c.Ports[1].Protocol = corev1.ProtocolUDP }, "port 8081"},
		{"a probe by gRPC", func(_ *corev1.PodSpec, c *corev1.Container) {
			c.LivenessProbe.ProbeHandler = corev1.ProbeHandler{GRPC: &corev1.GRPCAction{}}
		}, "not by HTTP or TCP"},
		{"a probe of another host", func(_ *corev1.PodSpec, c *corev1.Container) { c.LivenessProbe.HTTPGet.Host = "example.com" }, "of another host"},
		{"a probe of a port that is not there", func(_ *corev1.PodSpec, c *corev1.Container) {
			c.ReadinessProbe.HTTPGet.Port = intstr.FromString("other")
		}, "asks port other"},
		{"a volume that is not there", func(p *corev1.PodSpec, _ *corev1.Container) { p.Volumes = nil }, "no volume secret"},
		{"a volume of the node", func(p *corev1.PodSpec, _ *corev1.Container) {
			p.Volumes[0].VolumeSource = corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}}
		}, "volume secret is of a kind"},
		{"a certificate for the pod", func(p *corev1.PodSpec, _ *corev1.Container) {
			p.Volumes[0].VolumeSource = corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
				Sources: []corev1.VolumeProjection{{PodCertificate: &corev1.PodCertificateProjection{}}},
			}}
		}, "volume secret has"},
		{"an amount as a file", func(p *corev1.PodSpec, _ *corev1.Container) {
			p.Volumes[0].VolumeSource = corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{
				Items: []corev1.DownwardAPIVolumeFile{{Path: "cpu", ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.cpu"}}},
			}}
		}, "amount of a resource"},
		{"a part of a volume", func(_ *corev1.PodSpec, c *corev1.Container) { c.VolumeMounts[0].SubPath = "tls.crt" }, "mount of volume secret"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			pod := examplePod()
			tc.change(&pod.Spec, &pod.Spec.Containers[0])
			if _, err := readContainer(pod); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}
