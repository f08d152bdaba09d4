package meshwarden

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/kubelet"
	"github.com/meshwarden/meshwarden/e2e/process"
)

// probePeriod is how often a replica is asked whether it is ready. The Deployment's is longer: tests would wait for it.
const probePeriod = 100 * time.Millisecond

// ReplicaOptions say what is different about one replica.
type ReplicaOptions struct {
	// Binary is another build of Meshwarden; empty means the installation's.
	Binary string
	// Args come after those that the Deployment says.
	Args []string
	// BeforeSync may delay the changes of mounted Secrets; nil does not.
	BeforeSync kubelet.BeforeSync
}

// Replica is one process of Meshwarden.
type Replica struct {
	*process.Process

	installation *Installation
	sandbox      *kubelet.Sandbox
	labels       labels.Set
	end          context.CancelFunc
	background   sync.WaitGroup
}

// Start starts another replica of what the Deployment says now, and returns without waiting for it to be ready. As with a
// kubelet, that takes until the Secrets exist that it mounts.
func (i *Installation) Start(ctx context.Context, o ReplicaOptions) (*Replica, error) {
	r, err := i.start(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("start a replica: %w", err)
	}
	return r, nil
}

func (i *Installation) start(ctx context.Context, o ReplicaOptions) (*Replica, error) {
	deployment := &appsv1.Deployment{}
	if err := i.client.Get(ctx, client.ObjectKey{Namespace: i.namespace, Name: name}, deployment); err != nil {
		return nil, fmt.Errorf("get the Deployment: %w", err)
	}
	dir, err := os.MkdirTemp(i.options.Dir, name+"-")
	if err != nil {
		return nil, err
	}
	program, err := Program(cmp.Or(o.Binary, i.options.Binary))
	if err != nil {
		return nil, err
	}
	pod, err := podOf(deployment.Spec.Template, i.namespace, filepath.Base(dir))
	if err != nil {
		return nil, fmt.Errorf("read the Deployment: %w", err)
	}
	r := &Replica{installation: i, labels: pod.Labels}
	if r.sandbox, err = kubelet.NewSandbox(i.cp, pod, kubelet.SandboxOptions{Program: program, Dir: dir}); err != nil {
		return nil, fmt.Errorf("read the Deployment: %w", err)
	}
	if err := r.run(ctx, o.Args); err != nil {
		r.sandbox.Close()
		return nil, err
	}
	r.attend(o.BeforeSync)
	return r, nil
}

// run starts the process once there is what it mounts.
func (r *Replica) run(ctx context.Context, args []string) error {
	if r.sandbox.Container.ReadinessProbe == nil {
		return errors.New("read the Deployment: its container has no readiness probe")
	}
	err := wait.PollUntilContextCancel(ctx, probePeriod, true, func(ctx context.Context) (bool, error) {
		err := r.sandbox.Mount(ctx)
		return err == nil, client.IgnoreNotFound(err)
	})
	if err != nil {
		return err
	}
	r.Process, err = r.sandbox.Start(r.installation.options.Log, args...)
	return err
}

// attend does what a kubelet does for a container that runs.
func (r *Replica) attend(before kubelet.BeforeSync) {
	ctx, cancel := context.WithCancel(context.Background())
	r.end = cancel
	r.background.Go(func() { r.probe(ctx) })
	r.background.Go(func() { r.sandbox.Follow(ctx, before) })
	r.installation.mu.Lock()
	defer r.installation.mu.Unlock()
	r.installation.replicas = append(r.installation.replicas, r)
}

// probe asks for the replica's readiness, and routes the Services accordingly, until ctx or the process ends.
func (r *Replica) probe(ctx context.Context) {
	ticker := time.NewTicker(probePeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.Done():
			r.installation.route(r, false)
			return
		case <-ticker.C:
			r.installation.route(r, r.Ready(ctx) == nil)
		}
	}
}

// Ready asks for the replica's readiness and returns what its answer says is missing.
func (r *Replica) Ready(ctx context.Context) error {
	// A kubelet does not ask for the reasons, but tests want to show them.
	probe := r.sandbox.Container.ReadinessProbe.DeepCopy()
	probe.HTTPGet.Path += "?verbose=1"
	return r.sandbox.Ask(ctx, probe)
}

// WaitReady waits until the replica is ready and the Services lead to it. It fails when the process ends first, and when a
// kubelet would start the ready replica anew.
func (r *Replica) WaitReady(ctx context.Context) error {
	last := errors.New("not asked yet")
	err := wait.PollUntilContextCancel(ctx, probePeriod/2, true, func(ctx context.Context) (bool, error) {
		select {
		case <-r.Done():
			return false, fmt.Errorf("the replica ended: %w", r.Err())
		default:
		}
		last = r.Ready(ctx)
		return last == nil && r.Routed(), nil
	})
	if err != nil {
		return fmt.Errorf("wait for a replica: %w (%w)", err, last)
	}
	for _, p := range []*corev1.Probe{r.sandbox.Container.StartupProbe, r.sandbox.Container.LivenessProbe} {
		if p == nil {
			continue
		}
		if err := r.sandbox.Ask(ctx, p); err != nil {
			return fmt.Errorf("a ready replica would be started anew: %w", err)
		}
	}
	return nil
}

// Metrics returns the replica's metrics in Prometheus' text format.
func (r *Replica) Metrics(ctx context.Context) (string, error) {
	status, body, err := r.get(ctx, metricsPort, "/metrics")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("metrics: status %d", status)
	}
	return body, err
}

// Stop stops the replica as a kubelet does: SIGTERM, the end by force after the Deployment's grace period, and probes until
// it is gone.
func (r *Replica) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.sandbox.GracePeriod)
	defer cancel()
	err := r.Process.Stop(ctx)
	r.end()
	r.background.Wait()
	r.installation.route(r, false)
	r.sandbox.Close()
	return err
}

// get sends a request to a port of the replica.
func (r *Replica) get(ctx context.Context, port, path string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.address(port)+path, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close() // it is only read
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

// address returns the host:port of a port by its name.
func (r *Replica) address(port string) string {
	for _, p := range r.sandbox.Container.Ports {
		if p.Name == port {
			return r.sandbox.Addresses[p.ContainerPort]
		}
	}
	return ""
}
