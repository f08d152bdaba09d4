package suite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// jobHeading is the part of docs/bootstrap.md that has the Job's commands: those that install, those that say why it failed, and the
// one that deletes it.
const jobHeading = "## Install with the Job"

// jobCommands returns the blocks of commands about the Job. Those that read logs are left out: package kubelet serves none.
func jobCommands(t *testing.T) (install, explain, remove string) {
	t.Helper()
	blocks := pageSection(t, "bootstrap.md", jobHeading, 3, 0).shell
	for i, block := range blocks {
		lines := slices.DeleteFunc(slices.Collect(strings.Lines(block)), func(line string) bool { return strings.Contains(line, " logs ") })
		blocks[i] = strings.Join(lines, "")
	}
	return blocks[0], blocks[1], blocks[2]
}

// installByPage runs the page's commands with the kustomization of a folder.
func (s *story) installByPage(t *testing.T, folder string) {
	t.Helper()
	install, _, _ := jobCommands(t)
	// Only who has read the log to its end waits no longer for the Job.
	commands := strings.NewReplacer("manifests/bootstrap", folder, "--timeout=1m", "--timeout="+patience.String()).Replace(install)
	_, err := s.shell(t, "EDITOR=true\n"+commands)
	noError(t, "install Istio as the page says", err)
}

// kustomization returns a folder with the page's kustomization of one's own and the document. It has a path in place of the URL.
func (s *story) kustomization(t *testing.T, document string) string {
	t.Helper()
	page, err := os.ReadFile(repository("docs", "bootstrap.md"))
	noError(t, "read the documentation", err)
	_, part, _ := strings.Cut(string(page), jobHeading)
	content := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(part)
	if content == nil {
		t.Fatal("docs/bootstrap.md has no kustomization of one's own")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	noError(t, "make a folder", err)
	manifests, err := filepath.Abs(repository("manifests", "bootstrap"))
	noError(t, "find the manifests", err)
	base, err := filepath.Rel(dir, manifests) // kustomize wants a relative path
	noError(t, "find the manifests", err)
	for name, text := range map[string]string{
		"kustomization.yaml": regexp.MustCompile(`https://\S+`).ReplaceAllLiteralString(content[1], base),
		"document.yaml":      document,
	} {
		noError(t, "write "+name, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

func (s *story) testBadJob(t *testing.T) {
	_, explain, remove := jobCommands(t)
	_, err := s.shell(t, "kubectl apply --server-side -k "+s.kustomization(t, reference(t, "enabled: true", "enable: true")))
	noError(t, "apply the Job", err)
	job := &batchv1.Job{}
	s.eventually(t, "the Job has failed", func(ctx context.Context) error {
		if err := s.client.Get(ctx, client.ObjectKey{Namespace: "meshwarden-bootstrap", Name: "bootstrap"}, job); err != nil {
			return err
		}
		for _, c := range job.Status.Conditions {
			if c.Type == batchv1.JobFailed && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("it has not: %+v", job.Status)
	})
	if job.Status.Failed != 1 {
		t.Errorf("%d attempts, want one", job.Status.Failed)
	}
	said, err := s.shell(t, explain)
	noError(t, "ask why the Job has failed", err)
	if !strings.Contains(said, "Failed: PodFailurePolicy: Container installer for pod") {
		t.Errorf("the page's command says %q, want why the Job has failed", said)
	}
	s.logged(t, 1, "specification.applications[0].enable: unknown key")
	_, err = s.shell(t, "kubectl apply --server-side -k manifests/bootstrap")
	wantError(t, "another document without deleting the Job", err, "field is immutable")
	_, err = s.shell(t, remove)
	noError(t, "delete the Job", err)
}

// testRemoval compares what is in the cluster before an installation and after its removal.
func (s *story) testRemoval(t *testing.T) {
	_, err := s.shell(t, "kubectl delete --ignore-not-found -k manifests/bootstrap")
	noError(t, "remove what is there of the Job", err)
	before := s.inventory(t)
	s.installByPage(t, "manifests/bootstrap")
	for _, block := range pageSection(t, "bootstrap.md", "## Removal", 2, 0).shell {
		_, err := s.shell(t, block)
		noError(t, "remove Istio as the page says", err)
	}
	// istiod writes these into each namespace, and the page says so.
	s.wantInventory(t, before.with("ConfigMap default/istio-ca-root-cert", "ConfigMap default/istio-ca-crl"))
}
