// Package binary builds the programs that the end-to-end tests run.
package binary

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/meshwarden/meshwarden/e2e/module"
)

// Binary is a program that Build makes, by the name of its file in bin.
type Binary string

const (
	// ControlPlane has all roles of the local control plane.
	ControlPlane Binary = "controlplane"
	// ControlPlaneWithoutControllerManager has no kube-controller-manager, so that
	// its first build is a good deal shorter.
	ControlPlaneWithoutControllerManager Binary = "controlplane-small"
	// Webhook is Meshwarden itself.
	Webhook Binary = "webhook"
	// WebhookRace is Meshwarden with the race detector, where cgo is usable;
	// elsewhere it is the same as Webhook.
	WebhookRace Binary = "webhook-race"
	// Walk is the program of `make run`.
	Walk Binary = "walk"
	// Kubectl is kubectl of the control plane's version.
	Kubectl Binary = "kubectl"
	// CertManager has cert-manager's controllers and its CA injector.
	CertManager Binary = "certmanager"
	// Installer is the program that installs Istio, and the operator that keeps it.
	Installer Binary = "installer"
	// PilotDiscovery is istiod, unchanged.
	PilotDiscovery Binary = "pilot-discovery"
)

// Progress is told, while a build runs, how many packages were compiled so far.
type Progress func(compiled int)

// lockRetry is how often a build that waits for another one looks again.
const lockRetry = 100 * time.Millisecond

// recipe is what the go command is told to build.
type recipe struct {
	// dir is the folder of the module.
	dir, pkg   string
	flags, env []string
}

// Build builds a program into the bin folder at the root of the repository and
// returns its absolute path. Where it is current already, that takes a second or
// two. Builds wait for one another across processes, until ctx ends. The working
// directory has to be inside the e2e module. A nil progress is told nothing.
func Build(ctx context.Context, binary Binary, progress Progress) (string, error) {
	e2e, err := module.Dir(ctx, module.E2E)
	if err != nil {
		return "", err
	}
	recipe, err := binary.recipe(ctx, e2e)
	if err != nil {
		return "", err
	}
	bin := filepath.Join(filepath.Dir(e2e), "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", fmt.Errorf("make the folder for programs: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(bin, ".lock"))
	if err != nil {
		return "", err
	}
	path := filepath.Join(bin, string(binary))
	return path, errors.Join(recipe.build(ctx, path, progress), unlock())
}

// recipe is the only place that knows how each program is built.
func (b Binary) recipe(ctx context.Context, e2e string) (recipe, error) {
	switch b {
	case ControlPlane, ControlPlaneWithoutControllerManager:
		flags, err := versionFlags(ctx)
		if err != nil {
			return recipe{}, err
		}
		if b == ControlPlaneWithoutControllerManager {
			flags = append(flags, "-tags=nocontrollermanager")
		}
		return recipe{dir: e2e, pkg: "./cmd/controlplane", flags: flags}, nil
	case Kubectl:
		flags, err := versionFlags(ctx)
		return recipe{dir: e2e, pkg: "./cmd/kubectl", flags: flags}, err
	case Walk:
		return recipe{dir: e2e, pkg: "./cmd/walk"}, nil
	case CertManager:
		return recipe{dir: e2e, pkg: "./cmd/certmanager"}, nil
	case Installer:
		return recipe{dir: filepath.Join(filepath.Dir(e2e), "installer"), pkg: "./cmd/installer"}, nil
	case PilotDiscovery:
		return recipe{dir: e2e, pkg: "istio.io/istio/pilot/cmd/pilot-discovery"}, nil
	case Webhook, WebhookRace:
		r := recipe{dir: filepath.Dir(e2e), pkg: "./cmd/webhook"}
		if b == WebhookRace && cgoUsable(ctx) {
			r.flags = []string{"-race"}
			r.env = []string{"CGO_ENABLED=1"}
		}
		return r, nil
	default:
		return recipe{}, fmt.Errorf("build %q: no such program", string(b))
	}
}

func (r recipe) build(ctx context.Context, path string, progress Progress) error {
	args := append([]string{"build", "-v", "-o", path}, r.flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, r.pkg)...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), r.env...)
	output := &counter{progress: progress}
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s in %s: %w\n%s", r.pkg, r.dir, err, output.rest.String())
	}
	return nil
}

// versionFlags stamps the version of Kubernetes into its programs, which say v0.0.0
// otherwise, and that is a version that clients do not accept of an API server.
func versionFlags(ctx context.Context) ([]string, error) {
	version, err := module.Version(ctx, "k8s.io/kubernetes")
	if err != nil {
		return nil, err
	}
	numbers := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(numbers) != 3 {
		return nil, fmt.Errorf("version %q of k8s.io/kubernetes is not of the form v1.2.3", version)
	}
	const variable = "-X k8s.io/component-base/version."
	return []string{"-ldflags=" + strings.Join([]string{
		variable + "gitVersion=" + version,
		variable + "gitMajor=" + numbers[0],
		variable + "gitMinor=" + numbers[1],
	}, " ")}, nil
}

// cgoUsable tells whether the race detector, which needs cgo, can be built.
func cgoUsable(ctx context.Context) bool {
	output, err := exec.CommandContext(ctx, "go", "env", "CGO_ENABLED", "CC").Output()
	if err != nil {
		return false
	}
	enabled, compiler, _ := strings.Cut(strings.TrimSpace(string(output)), "\n")
	if enabled != "1" || compiler == "" {
		return false
	}
	_, err = exec.LookPath(strings.Fields(compiler)[0])
	return err == nil
}

// lock waits for the lock on a file, which the kernel drops when its holder dies,
// and returns the function that releases it.
func lock(ctx context.Context, path string) (func() error, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the build lock: %w", err)
	}
	err = wait.PollUntilContextCancel(ctx, lockRetry, true, func(context.Context) (bool, error) {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("wait for another build to end (lock %s): %w", path, err), file.Close())
	}
	return file.Close, nil
}
