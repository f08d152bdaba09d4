package suite

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
	"github.com/meshwarden/meshwarden/e2e/istiod"
	"github.com/meshwarden/meshwarden/e2e/kubelet"
)

// A failure ends with what is wrong, in the words of the pods, within the timeout. Once that is put right, the next run goes on.
// The document has namespaces of its own: several that are watched, and one for Istio that is not among them.
func TestBootstrapFailure(t *testing.T) {
	t.Parallel()
	b := startBootstrapWithNodes(t, map[string]kubelet.Program{
		"missing.example.com/istio/pilot": {},
		"broken.example.com/istio/pilot":  istiod.Program("/bin/false"),
	}, controlplane.Options{APIServerArgs: []string{"--admission-control-config-file=" + restricted(t)}})
	b.namespace(t, "mesh-two") // made by hand, without the label that the bootstrap's own have
	document := reference(t, "operator: istio-operator", "operator: mesh-operator", "- istio-system", "- mesh-config\n        - mesh-two",
		"istio: istio-system", "istio: mesh")
	// from runs a document whose images come from another registry, but for the operator's.
	from := func(registry string) []string {
		return []string{"--image-registry=" + registry, "--operator-image=registry.example.com/meshwarden/installer:v0.1.0"}
	}
	fails := func(registry string, want ...string) {
		t.Helper()
		b.interrupted(t, document, want[len(want)-1], from(registry)...)
		// A container that is started anew runs for a moment each time, when there is nothing to be told of it.
		b.eventually(t, "a run that fails tells why", func(context.Context) error {
			o := b.run(t, document, append(from(registry), "--timeout=2s")...)
			o.want(t, 1)
			for _, part := range append(want, "is not healthy after 2s:\n  - ") {
				if !strings.Contains(o.output, part) {
					return fmt.Errorf("the output lacks %q:\n%s", part, o.output)
				}
			}
			return nil
		})
	}

	fails("missing.example.com", "note: namespace mesh-two was there before", "Deployment mesh/istiod", `violates PodSecurity "restricted:latest"`)
	b.patchNamespace(t, "mesh", `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"baseline"}}}`)
	fails("missing.example.com", "unchanged   Role mesh-two/istio-operator-watched", "Deployment mesh/istiod: 0 of 1 replicas available: pod istiod-", "ImagePullBackOff")
	fails("broken.example.com", "Deployment mesh/istiod", "CrashLoopBackOff: container discovery ended with exit code 1")
	b.mustApply(t, "{apiVersion: v1, kind: ResourceQuota, metadata: {name: small, namespace: mesh}, spec: {hard: {pods: 0}}}")
	fails("registry.example.com", "Deployment mesh/istiod", "FailedCreate: pod is forbidden: exceeded quota: small")
	b.remove(t, b.object(t, "v1", "ResourceQuota", "mesh", "small"))

	b.run(t, document, from("registry.example.com")...).
		want(t, 0, "unchanged   IstioOperator mesh-config/istiocontrolplane", "IstioOperator mesh-config/istiocontrolplane is healthy: Istio is installed in namespace mesh")
	b.healthy(t, "mesh-config", "istiocontrolplane")
	b.available(t, "mesh", "istiod")
	b.available(t, "mesh", "istio-ingressgateway")
	b.available(t, "mesh-operator", "istio-operator")
}

// restricted returns the file by which an API server enforces the strictest Pod Security where no label says otherwise. No preflight
// sees that.
func restricted(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "admission.yaml")
	noError(t, "write the configuration of admission", os.WriteFile(file, []byte(`
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodSecurity
  configuration:
    apiVersion: pod-security.admission.config.k8s.io/v1
    kind: PodSecurityConfiguration
    defaults: {enforce: restricted}
`), 0o600))
	return file
}

// interrupted runs the program until it says something, and then interrupts it.
func (b *bootstrapped) interrupted(t *testing.T, document, until string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, b.program, append([]string{"bootstrap", "--kubeconfig=" + b.kubeconfig}, append(args, "-")...)...)
	command.Stdin = strings.NewReader(document)
	output, err := command.StdoutPipe()
	noError(t, "read what the installer says", err)
	complaint := &strings.Builder{}
	command.Stderr = complaint
	noError(t, "start the installer", command.Start())
	said := &strings.Builder{}
	lines := bufio.NewReader(io.TeeReader(output, said))
	for line := ""; !strings.Contains(line, until); {
		if line, err = lines.ReadString('\n'); err != nil {
			t.Fatalf("the installer never said %q: %v:\n%s%s", until, err, said, complaint)
		}
	}
	noError(t, "interrupt the installer", command.Process.Signal(syscall.SIGTERM))
	_, err = io.Copy(io.Discard, lines)
	noError(t, "read what the installer says", err)
	_ = command.Wait() // its exit code is read below
	outcome{said.String() + complaint.String(), command.ProcessState.ExitCode()}.want(t, 1, "installer: interrupted; what was applied stays")
}
