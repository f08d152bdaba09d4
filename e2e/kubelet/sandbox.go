package kubelet

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
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

// NewSandbox makes a place for the pod. It fails when the pod asks for what cannot be played.
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
	if s.Addresses, err = freeAddresses(container.Ports, o.Program); err != nil {
		return nil, err
	}
	// It starts in another folder than this process.
	if s.program.Path, err = filepath.Abs(o.Program.Path); err != nil {
		return nil, fmt.Errorf("find the program: %w", err)
	}
	if err := os.MkdirAll(s.Root, 0o700); err != nil {
		return nil, fmt.Errorf("make the pod's folder: %w", err)
	}
	c, err := client.New(cp.Config(), client.Options{})
	if err != nil {
		return nil, err
	}
	for _, m := range container.VolumeMounts {
		s.mountPaths = append(s.mountPaths, m.MountPath)
		made, err := newMount(c, pod, volumeOf(pod, m), filepath.Join(s.Root, m.MountPath))
		if err != nil {
			return nil, err
		}
		s.mounts = append(s.mounts, made)
	}
	return s, s.grantAccess(cp, filepath.Join(o.Dir, "kubeconfig"))
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
	for _, port := range slices.Sorted(maps.Keys(s.Addresses)) {
		args = append(args, s.program.Listen[port]+"="+s.Addresses[port])
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

// freeAddresses returns a loopback address for each port, which nothing listened on a moment ago.
func freeAddresses(ports []corev1.ContainerPort, program Program) (map[int32]string, error) {
	addresses := map[int32]string{}
	for _, port := range ports {
		if program.Listen[port.ContainerPort] == "" {
			return nil, fmt.Errorf("it is not known by which option %s listens on another port than %d", filepath.Base(program.Path), port.ContainerPort)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // it only reserved the port
		addresses[port.ContainerPort] = l.Addr().String()
	}
	return addresses, nil
}
