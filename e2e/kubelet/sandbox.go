package kubelet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
	"github.com/meshwarden/meshwarden/e2e/internal/port"
	"github.com/meshwarden/meshwarden/e2e/process"
)

// syncPeriod is how often a folder is compared to its volume. A kubelet takes up to a minute and more; BeforeSync is for
// tests of that.
const syncPeriod = 200 * time.Millisecond

// Sandbox is what one pod needs to run on this machine.
type Sandbox struct {
	Place
	// Container is the pod's.
	Container *corev1.Container
	// Addresses are the host:port of the container's ports, by number.
	Addresses map[int32]string
	// GracePeriod is how long the container may take to end.
	GracePeriod time.Duration

	pod       *corev1.Pod
	program   Program
	variables map[string]string
	mounts    []*mount
	ports     []*port.Reservation
}

// SandboxOptions say what is not in the pod.
type SandboxOptions struct {
	// Program runs in it. Required.
	Program Program
	// Dir is the pod's own folder. Required.
	Dir string
	// Allocatable is what the pod's node has, for variables that ask for a limit which the container does not have.
	Allocatable corev1.ResourceList
}

// NewSandbox makes a place for the pod. It fails when the pod asks for what cannot be played. The caller ends it with Close.
func NewSandbox(cp *controlplane.ControlPlane, pod *corev1.Pod, o SandboxOptions) (*Sandbox, error) {
	container, err := readContainer(pod)
	if err != nil {
		return nil, err
	}
	s := &Sandbox{
		Place:     Place{Root: filepath.Join(o.Dir, "root"), Namespace: pod.Namespace},
		Container: container, pod: pod, program: o.Program,
		GracePeriod: time.Duration(ptr.Deref(pod.Spec.TerminationGracePeriodSeconds, corev1.DefaultTerminationGracePeriodSeconds)) * time.Second,
	}
	if s.variables, err = environment(pod, container, o.Allocatable); err != nil {
		return nil, err
	}
	// It starts in another folder than this process.
	if s.program.Path, err = filepath.Abs(o.Program.Path); err != nil {
		return nil, fmt.Errorf("find the program: %w", err)
	}
	if err := os.MkdirAll(s.Root, 0o700); err != nil {
		return nil, fmt.Errorf("make the pod's folder: %w", err)
	}
	err = errors.Join(s.addMounts(cp), s.grantAccess(cp, filepath.Join(o.Dir, "kubeconfig")), s.reserve())
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// addMounts makes the folders of the container's volumes.
func (s *Sandbox) addMounts(cp *controlplane.ControlPlane) error {
	c, err := client.New(cp.Config(), client.Options{})
	if err != nil {
		return err
	}
	for _, m := range s.Container.VolumeMounts {
		s.mountPaths = append(s.mountPaths, m.MountPath)
		made, err := newMount(c, s.pod, volumeOf(s.pod, m), filepath.Join(s.Root, m.MountPath))
		if err != nil {
			return err
		}
		s.mounts = append(s.mounts, made)
	}
	return nil
}

// grantAccess writes a kubeconfig with the token that the pod has in a volume.
func (s *Sandbox) grantAccess(cp *controlplane.ControlPlane, path string) error {
	folder, mounted := s.Mounted(AccessPath)
	if !mounted {
		return nil
	}
	config := rest.AnonymousClientConfig(cp.Config())
	config.BearerTokenFile = filepath.Join(folder, "token")
	s.Kubeconfig = path
	return controlplane.WriteKubeconfig(config, path)
}

// Mount fills the volumes once. It fails when an object is missing that a volume is of, which may be there later.
func (s *Sandbox) Mount(ctx context.Context) error {
	for _, m := range s.mounts {
		if err := m.sync(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

// Follow keeps the volumes like what they are of until ctx ends. What fails is tried again, as a kubelet does: a Secret that
// is deleted leaves its folder as it was.
func (s *Sandbox) Follow(ctx context.Context, before BeforeSync) {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		for _, m := range s.mounts {
			_ = m.sync(ctx, before)
		}
	}, syncPeriod)
}

// Start starts the container's program, with the arguments after those of the container. log gets its output, in whole lines.
func (s *Sandbox) Start(log io.Writer, args ...string) (*process.Process, error) {
	return process.Start(process.Config{
		Name: s.pod.Name, Path: s.program.Path, Dir: s.Root, Env: s.environment(), Args: s.arguments(args...), Log: log,
	})
}

// arguments are the container's, what depends on the place, and the others.
func (s *Sandbox) arguments(others ...string) []string {
	var args []string
	for _, arg := range s.Container.Args {
		args = append(args, s.relocated(expansion.Expand(arg, expansion.MappingFuncFor(s.variables))))
	}
	for _, number := range slices.Sorted(maps.Keys(s.Addresses)) {
		args = append(args, s.program.Listen[number]+"="+s.Addresses[number])
	}
	if s.program.Options != nil {
		args = append(args, s.program.Options(s.Place)...)
	}
	return append(args, others...)
}

// environment is the container's, and what stands in for the fixed paths of a container.
func (s *Sandbox) environment() []string {
	var env []string
	if s.Kubeconfig != "" {
		env = append(env, "KUBECONFIG="+s.Kubeconfig)
	}
	// It is there only if it is a volume: the rest of a file system may be read-only, and an image may not have the folder.
	env = append(env, "TMPDIR="+filepath.Join(s.Root, "tmp"))
	for _, name := range slices.Sorted(maps.Keys(s.variables)) {
		env = append(env, name+"="+s.relocated(s.variables[name]))
	}
	return append(env, s.program.Env...)
}

// reserve reserves a loopback address for each port of the container, for as long as the pod is there.
func (s *Sandbox) reserve() error {
	s.Addresses = map[int32]string{}
	for _, p := range s.Container.Ports {
		if s.program.Listen[p.ContainerPort] == "" {
			return fmt.Errorf("it is not known by which option %s listens on another port than %d", filepath.Base(s.program.Path), p.ContainerPort)
		}
		reserved, err := port.Reserve()
		if err != nil {
			return err
		}
		s.ports = append(s.ports, reserved)
		s.Addresses[p.ContainerPort] = reserved.Address()
	}
	return nil
}

// Close gives the addresses up, when nothing runs there any more. It can be repeated.
func (s *Sandbox) Close() {
	for _, reserved := range s.ports {
		reserved.Close()
	}
}
