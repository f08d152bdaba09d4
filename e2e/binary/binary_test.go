package binary_test

import (
	"debug/buildinfo"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/meshwarden/meshwarden/e2e/binary"
)

func TestBuild(t *testing.T) {
	tests := []struct {
		reason string
		binary binary.Binary
		// wantNames are the names that the file may have.
		wantNames []string
		// wantMain is the path of its main package.
		wantMain string
	}{
		{
			reason:    "the control plane",
			binary:    binary.ControlPlane,
			wantNames: []string{"controlplane"},
			wantMain:  "github.com/meshwarden/meshwarden/e2e/cmd/controlplane",
		},
		{
			reason:    "the control plane without kube-controller-manager",
			binary:    binary.ControlPlaneWithoutControllerManager,
			wantNames: []string{"controlplane-small"},
			wantMain:  "github.com/meshwarden/meshwarden/e2e/cmd/controlplane",
		},
		{
			reason:    "the webhook, from the other module",
			binary:    binary.Webhook,
			wantNames: []string{"webhook-race", "webhook"},
			wantMain:  "github.com/meshwarden/meshwarden/cmd/webhook",
		},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			// Two at once must not get in each other's way.
			var paths [2]string
			var errs [2]error
			var builds sync.WaitGroup
			for i := range paths {
				builds.Go(func() { paths[i], errs[i] = binary.Build(t.Context(), test.binary, nil) })
			}
			builds.Wait()
			for _, err := range errs {
				if err != nil {
					t.Fatal(err)
				}
			}
			if paths[0] != paths[1] || !slices.Contains(test.wantNames, filepath.Base(paths[0])) {
				t.Errorf("paths: %v, want the same file twice, named one of %v", paths, test.wantNames)
			}
			info, err := buildinfo.ReadFile(paths[0])
			if err != nil {
				t.Fatal(err)
			}
			if info.Path != test.wantMain {
				t.Errorf("main package: %s, want %s", info.Path, test.wantMain)
			}
		})
	}
}

func TestBuildOfSomethingElse(t *testing.T) {
	_, err := binary.Build(t.Context(), "nothing", nil)
	if err == nil || !strings.Contains(err.Error(), "no such program") {
		t.Errorf("Build: %v, want an error that says that there is no such program", err)
	}
}

func TestControllerManagerIsLeftOut(t *testing.T) {
	path, err := binary.Build(t.Context(), binary.ControlPlaneWithoutControllerManager, nil)
	if err != nil {
		t.Fatal(err)
	}
	output, err := exec.CommandContext(t.Context(), path, "controller-manager").CombinedOutput()
	if err == nil || !strings.Contains(string(output), "built without kube-controller-manager") {
		t.Errorf("its controller-manager role: %v, %s; want a failure that says what is missing", err, output)
	}
}
