package meshwarden

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
	BeforeSync BeforeSync
}

// Replica is one process of Meshwarden.
type Replica struct {
	*process.Process

	installation *Installation
	pod          pod
	labels       labels.Set
	addresses    map[string]string // of the ports, by name
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
	template := deployment.Spec.Template
	template.Namespace = deployment.Namespace
	r := &Replica{installation: i, labels: template.Labels}
	if r.pod, err = readPod(template, filepath.Base(dir)); err != nil {
		return nil, fmt.Errorf("read the Deployment: %w", err)
	}
	if r.addresses, err = freeAddresses(r.pod.ports); err != nil {
		return nil, err
	}
	at := placement{kubeconfig: filepath.Join(dir, "kubeconfig"), addresses: r.addresses, folders: map[string]string{}}
	if err := i.grantAccess(ctx, r.pod.serviceAccount, dir, at.kubeconfig); err != nil {
		return nil, err
	}
	var mounts []*mount
	for _, v := range r.pod.volumes {
		at.folders[v.mountPath] = filepath.Join(dir, "volumes", v.secret)
		m, err := newMount(ctx, i.client, i.namespace, v, at.folders[v.mountPath])
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, m)
	}
	if err := r.run(at, o); err != nil {
		return nil, err
	}
	r.attend(mounts, o.BeforeSync)
	return r, nil
}

// run starts the process.
func (r *Replica) run(at placement, o ReplicaOptions) error {
	args, err := r.pod.arguments(at)
	if err != nil {
		return err
	}
	binary := o.Binary
	if binary == "" {
		binary = r.installation.options.Binary
	}
	r.Process, err = process.Start(process.Config{
		Name: name, Path: binary, Args: append(args, o.Args...), Log: r.installation.options.Log,
		Env: append(r.pod.env, "GORACE=halt_on_error=1"),
	})
	return err
}

// attend does what a kubelet does for a container that runs.
func (r *Replica) attend(mounts []*mount, before BeforeSync) {
	ctx, cancel := context.WithCancel(context.Background())
	r.end = cancel
	r.background.Go(func() { r.probe(ctx) })
	for _, m := range mounts {
		r.background.Go(func() { m.follow(ctx, before) })
	}
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
	return r.ask(ctx, r.pod.readiness)
}

func (r *Replica) ask(ctx context.Context, p probe) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	// A kubelet does not ask for the reasons, but tests want to show them.
	status, body, err := r.get(ctx, p.port, p.path+"?verbose=1")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("%s answers %d: %s", p.path, status, body)
	}
	return nil
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
	for _, p := range r.pod.restarts {
		if err := r.ask(ctx, p); err != nil {
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
	ctx, cancel := context.WithTimeout(ctx, r.pod.gracePeriod)
	defer cancel()
	err := r.Process.Stop(ctx)
	r.end()
	r.background.Wait()
	r.installation.route(r, false)
	return err
}

// get sends a request to a port of the replica.
func (r *Replica) get(ctx context.Context, port, path string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.addresses[port]+path, nil)
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

// freeAddresses returns a loopback address for each port, which nothing listened on a moment ago.
func freeAddresses(ports map[string]int32) (map[string]string, error) {
	addresses := map[string]string{}
	for port := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // it only reserved the port
		addresses[port] = l.Addr().String()
	}
	return addresses, nil
}
