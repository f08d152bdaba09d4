package suite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/binary"
	"github.com/meshwarden/meshwarden/e2e/controlplane"
	"github.com/meshwarden/meshwarden/e2e/kubelet"
	"github.com/meshwarden/meshwarden/e2e/meshwarden"
)

// bootstrapAccount is who the bootstrap Job is in a cluster.
const bootstrapAccount = "system:serviceaccount:meshwarden-bootstrap:bootstrap"

// bootstrapped is a control plane with the manifests of the bootstrap Job, for one test.
type bootstrapped struct {
	*environment
	program, kubeconfig string
	// manifests are the Job's, as they were applied.
	manifests []*unstructured.Unstructured
}

// startBootstrap applies the Job's manifests. Its command is run by the test, by the token of the Job's ServiceAccount.
func startBootstrap(t *testing.T, o controlplane.Options) *bootstrapped {
	t.Helper()
	b := &bootstrapped{environment: startControlPlaneWith(t, o)}
	var err error
	b.program, err = binary.Build(t.Context(), binary.Installer, nil)
	noError(t, "build the installer", err)
	b.manifests, err = meshwarden.Build(repository("manifests", "bootstrap"))
	noError(t, "build the Job's manifests", err)
	// Nobody plays the Job's pod.
	b.manifests = slices.DeleteFunc(b.manifests, func(o *unstructured.Unstructured) bool { return o.GetKind() == "Job" })
	noError(t, "apply the Job's manifests", meshwarden.Apply(t.Context(), b.client, b.manifests))
	b.kubeconfig = b.grant(t, "meshwarden-bootstrap", "bootstrap")
	return b
}

// startBootstrapWithNodes returns one where pods run: those of the operator, and of istiod where a program takes its place, as
// processes, the others as KWOK plays them.
func startBootstrapWithNodes(t *testing.T, istiod map[string]kubelet.Program, o controlplane.Options) *bootstrapped {
	t.Helper()
	o.Nodes = 1
	o.KubeletImages = []string{"meshwarden/installer"}
	for image := range istiod {
		o.KubeletImages = append(o.KubeletImages, image)
	}
	b := startBootstrap(t, o)
	programs := map[string]kubelet.Program{"meshwarden/installer": {
		Path: b.program, Listen: map[int32]string{8080: "--metrics-address", 8081: "--health-address"},
		Options: func(at kubelet.Place) []string {
			return []string{"--kubeconfig=" + at.Kubeconfig, "--namespace=" + at.Namespace}
		},
	}}
	for image, program := range istiod {
		if program.Path != "" {
			programs[image] = program
		}
	}
	k, err := kubelet.Start(b.cp, kubelet.Options{Programs: programs, Dir: t.TempDir(), Log: b.log})
	noError(t, "start the kubelet", err)
	t.Cleanup(func() { _ = k.Stop(background(t)) }) // an image that cannot be pulled is what some tests want
	return b
}

// outcome is what a run of the program led to.
type outcome struct {
	output string
	code   int
}

// run runs `installer bootstrap` with the document in a file.
func (b *bootstrapped) run(t *testing.T, document string, args ...string) outcome {
	t.Helper()
	dir := t.TempDir()
	noError(t, "write the document", os.WriteFile(filepath.Join(dir, "document.yaml"), []byte(document), 0o600))
	command := exec.CommandContext(t.Context(), b.program, append([]string{"bootstrap", "--timeout=" + patience.String(), "--kubeconfig=" + b.kubeconfig}, append(args, "document.yaml")...)...)
	command.Dir = dir
	return finish(t, command)
}

// finish runs a program to its end.
func finish(t *testing.T, command *exec.Cmd) outcome {
	t.Helper()

	output, err := command.CombinedOutput()

	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		noError(t, "run the installer", err)
	}
	return outcome{string(output), command.ProcessState.ExitCode()}
}

// want fails the test unless the program ended so, and said every part.
func (o outcome) want(t *testing.T, code int, parts ...string) {
	t.Helper()
	if o.code != code {
		t.Fatalf("exit %d, want %d:\n%s", o.code, code, o.output)
	}
	for _, part := range parts {
		if !strings.Contains(o.output, part) {
			t.Errorf("the output lacks %q:\n%s", part, o.output)
		}
	}
}

// lack fails the test if the program said one of the parts.
func (o outcome) lack(t *testing.T, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(o.output, part) {
			t.Errorf("the output has %q:\n%s", part, o.output)
		}
	}
}

// stored returns the version of every object of the cluster, without what its own parts write all the time.
func (b *bootstrapped) stored(t *testing.T) map[string]string {
	t.Helper()
	config := b.cp.Config()
	config.WarningHandler = rest.NoWarnings{} // of old kinds
	asking, err := discovery.NewDiscoveryClientForConfig(config)
	noError(t, "make a client", err)
	reading, err := metadata.NewForConfig(config)
	noError(t, "make a client", err)
	lists, err := asking.ServerPreferredResources()
	noError(t, "ask for the resources", err)
	restless := []string{"leases", "events", "nodes", "horizontalpodautoscalers"}
	versions := map[string]string{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		noError(t, "read a group", err)
		for _, r := range list.APIResources {
			if !slices.Contains(r.Verbs, "list") || slices.Contains(restless, r.Name) {
				continue
			}
			objects, err := reading.Resource(gv.WithResource(r.Name)).List(t.Context(), metav1.ListOptions{})
			noError(t, "list "+r.Name, err)
			for _, o := range objects.Items {
				versions[r.Name+" "+o.Namespace+"/"+o.Name] = o.ResourceVersion
			}
		}
	}
	return versions
}

// available waits for nothing: it fails the test unless the Deployment is available now.
func (b *bootstrapped) available(t *testing.T, namespace, name string) *appsv1.Deployment {
	t.Helper()
	d := &appsv1.Deployment{}
	noError(t, "read Deployment "+name, b.client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, d))
	if !slices.ContainsFunc(d.Status.Conditions, func(c appsv1.DeploymentCondition) bool {
		return c.Type == appsv1.DeploymentAvailable && c.Status == corev1.ConditionTrue
	}) {
		t.Errorf("Deployment %s/%s is not available: %v", namespace, name, d.Status)
	}
	return d
}

// healthy fails the test unless the IstioOperator is reported healthy now.
func (b *bootstrapped) healthy(t *testing.T, namespace, name string) {
	t.Helper()
	o := b.object(t, "install.istio.io/v1alpha1", "IstioOperator", namespace, name)
	if status, _, _ := unstructured.NestedString(o.Object, "status", "status"); status != "HEALTHY" {
		t.Errorf("IstioOperator %s/%s: status %v", namespace, name, o.Object["status"])
	}
}

// settled waits until the cluster's own parts have written what they write after an installation.
func (b *bootstrapped) settled(t *testing.T) map[string]string {
	t.Helper()
	last, quiet := map[string]string{}, 0
	b.eventually(t, "the cluster is at rest", func(context.Context) error {
		now := b.stored(t)
		changed := changes(last, now)
		last = now
		if quiet++; len(changed) > 0 {
			quiet = 0
		}
		if quiet < 5 { // a controller may take a moment to notice what another one has written
			return fmt.Errorf("changed: %v", changed)
		}
		return nil
	})
	return last
}

// changes names the objects that differ.
func changes(before, after map[string]string) []string {
	var names []string
	for name, version := range after {
		if before[name] != version {
			names = append(names, name)
		}
	}
	for name := range before {
		if _, there := after[name]; !there {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, cmp.Compare[string])
	return names
}

// unchanged runs the program and fails the test if anything in the cluster is different afterwards.
func (b *bootstrapped) unchanged(t *testing.T, run func() outcome) outcome {
	t.Helper()
	before := b.settled(t)
	o := run()
	if changed := changes(before, b.stored(t)); len(changed) > 0 {
		t.Errorf("changed: %v\n%s", changed, o.output)
	}
	return o
}

// reference returns the platform's document as it stands, with pairs of texts replaced.
func reference(t *testing.T, replaced ...string) string {
	t.Helper()
	text, err := os.ReadFile(repository("installer", "testdata", "documents", "good", "reference.yaml"))
	noError(t, "read the reference document", err)
	for i := 0; i < len(replaced); i += 2 {
		if !strings.Contains(string(text), replaced[i]) {
			t.Fatalf("the reference document has no %q", replaced[i])
		}
	}
	return strings.NewReplacer(replaced...).Replace(string(text))
}
