package meshwarden

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"github.com/meshwarden/meshwarden/e2e/kubelet"
)

// templateOf returns the pod template of an overlay.
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
		return deployment.Spec.Template
	}
	t.Fatal("the overlay has no Deployment")
	return corev1.PodTemplateSpec{}
}

// The Deployment's image and ports are those that the program takes the place of.
func TestProgram(t *testing.T) {
	program, err := Program("webhook")
	if err != nil {
		t.Fatal(err)
	}
	for _, overlay := range []Overlay{SelfManaged, CertManager} {
		container := templateOf(t, overlay).Spec.Containers[0]
		if !strings.HasPrefix(container.Image, Image+":") {
			t.Errorf("overlay %s: the image is %s, want one of %s", overlay, container.Image, Image)
		}
		got := map[int32]string{}
		for _, port := range container.Ports {
			got[port.ContainerPort] = program.Listen[port.ContainerPort]
		}
		if diff := cmp.Diff(program.Listen, got); diff != "" {
			t.Errorf("overlay %s: options by port (-of the program +of the container's ports):\n%s", overlay, diff)
		}
	}
	want := []string{"--kubeconfig=/k", "--namespace=ns"}
	if diff := cmp.Diff(want, program.Options(kubelet.Place{Root: "/r", Kubeconfig: "/k", Namespace: "ns"})); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
}

func TestPodOf(t *testing.T) {
	template := templateOf(t, CertManager)
	pod, err := podOf(template, "ns", "pod")
	if err != nil {
		t.Fatal(err)
	}
	var mountPaths []string
	for _, m := range pod.Spec.Containers[0].VolumeMounts {
		mountPaths = append(mountPaths, m.MountPath)
	}
	if diff := cmp.Diff([]string{"/etc/meshwarden/certs", kubelet.AccessPath}, mountPaths); diff != "" || pod.Namespace != "ns" || pod.Name != "pod" {
		t.Errorf("pod %s/%s, its mounts (-want +got):\n%s", pod.Namespace, pod.Name, diff)
	}
	template.Spec.AutomountServiceAccountToken = ptr.To(false)
	if _, err := podOf(template, "ns", "pod"); err == nil || !strings.Contains(err.Error(), "does not ask for a token") {
		t.Errorf("error %v, want one about the token", err)
	}
}
