package meshwarden

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/meshwarden/meshwarden/cmd/webhook/serve"
	"github.com/meshwarden/meshwarden/e2e/kubelet"
)

// Image is the repository of Meshwarden's image in the manifests.
const Image = "meshwarden/webhook"

// Names of the container's ports.
const (
	webhookPort = "webhook"
	metricsPort = "metrics"
)

// Program returns what takes the place of Meshwarden's image: the program at the path, told where to listen and where what it
// finds in a cluster is.
func Program(path string) (kubelet.Program, error) {
	defaults := serve.NewOptions()
	p := kubelet.Program{Path: path, Listen: map[int32]string{}, Env: []string{"GORACE=halt_on_error=1"}}
	for _, listener := range []struct{ option, address string }{
		{"--bind-address", defaults.BindAddress}, {"--health-address", defaults.HealthAddress}, {"--metrics-address", defaults.MetricsAddress},
	} {
		_, text, err := net.SplitHostPort(listener.address)
		if err != nil {
			return p, fmt.Errorf("read the default of %s: %w", listener.option, err)
		}
		number, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return p, fmt.Errorf("read the default of %s: %w", listener.option, err)
		}
		p.Listen[int32(number)] = listener.option
	}
	p.Options = func(at kubelet.Place) []string {
		options := []string{"--kubeconfig=" + at.Kubeconfig, "--namespace=" + at.Namespace}
		if folder, mounted := at.Mounted(defaults.CertDir); mounted {
			options = append(options, "--cert-dir="+folder)
		}
		return options
	}
	return p, nil
}

// podOf returns the pod that the template leads to, with the volume that the API server would add for the token of its
// ServiceAccount. The CA is left to the kubeconfig: nobody publishes it without a controller manager.
func podOf(template corev1.PodTemplateSpec, namespace, name string) (*corev1.Pod, error) {
	pod := &corev1.Pod{ObjectMeta: *template.ObjectMeta.DeepCopy(), Spec: *template.Spec.DeepCopy()}
	pod.Namespace, pod.Name = namespace, name
	if !ptr.Deref(pod.Spec.AutomountServiceAccountToken, false) {
		return nil, errors.New("the pod does not ask for a token of its ServiceAccount")
	}
	for i := range pod.Spec.Containers {
		mounts := &pod.Spec.Containers[i].VolumeMounts
		*mounts = append(*mounts, corev1.VolumeMount{Name: "token", MountPath: kubelet.AccessPath, ReadOnly: true})
	}
	token := &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: ptr.To(int64(tokenLifetime.Seconds()))}
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "token", VolumeSource: corev1.VolumeSource{
		Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{ServiceAccountToken: token}}},
	}})
	return pod, nil
}
