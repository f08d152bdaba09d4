package meshwarden

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/meshwarden/meshwarden/e2e/process"
)

// Replica is one process of Meshwarden.
type Replica struct {
	*process.Process

	installation           *Installation
	serving, health, meter string
	stopProbe              context.CancelFunc
	probing                sync.WaitGroup
}

// Start starts another replica, with further arguments if given, and returns at once.
func (i *Installation) Start(args ...string) (*Replica, error) {
	addresses, err := freeAddresses(3)
	if err != nil {
		return nil, fmt.Errorf("start a replica: %w", err)
	}
	r := &Replica{installation: i, serving: addresses[0], health: addresses[1], meter: addresses[2]}
	all := []string{
		"serve", "--kubeconfig", i.kubeconfig(), "--namespace", Namespace,
		"--cert-dir", i.certDir(), "--generate-certificate",
		"--bind-address", r.serving, "--health-address", r.health, "--metrics-address", r.meter,
	}
	all = append(append(all, i.options.Args...), args...)
	r.Process, err = process.Start(process.Config{
		Name: "meshwarden", Path: i.options.Binary, Args: all, Log: i.options.Log,
		Env: []string{"GORACE=halt_on_error=1"},
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stopProbe = cancel
	r.probing.Go(func() { r.probe(ctx) })
	i.mu.Lock()
	defer i.mu.Unlock()
	i.replicas = append(i.replicas, r)
	return r, nil
}

// probe asks for the replica's readiness as a kubelet does, and routes the Service accordingly, until ctx or the process
// ends.
func (r *Replica) probe(ctx context.Context) {
	ticker := time.NewTicker(probePeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.Done():
			r.installation.route(r.serving, false)
			return
		case <-ticker.C:
			r.installation.route(r.serving, r.Ready(ctx) == nil)
		}
	}
}

// route adds the address to those that the Service leads to, or takes it away.
func (i *Installation) route(address string, ready bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if slices.Contains(i.routed, address) == ready {
		return
	}
	if ready {
		i.routed = append(i.routed, address)
	} else {
		i.routed = slices.DeleteFunc(i.routed, func(a string) bool { return a == address })
	}
	// A route that cannot be written shows in the webhooks' answers.
	_ = i.cp.Route(Namespace, service, servicePort, i.routed...)
}

// Routed says whether the Service leads to the replica now.
func (r *Replica) Routed() bool {
	r.installation.mu.Lock()
	defer r.installation.mu.Unlock()
	return slices.Contains(r.installation.routed, r.serving)
}

// Ready asks for the replica's readiness and returns what its answer says is missing.
func (r *Replica) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	status, body, err := get(ctx, "http://"+r.health+"/readyz?verbose=1")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("not ready: %s", body)
	}
	return nil
}

// WaitReady waits until the replica is ready and the Service leads to it. It fails when the process ends first.
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
	return nil
}

// Metrics returns the replica's metrics in Prometheus' text format.
func (r *Replica) Metrics(ctx context.Context) (string, error) {
	status, body, err := get(ctx, "http://"+r.meter+"/metrics")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("metrics: status %d", status)
	}
	return body, err
}

// Stop stops the replica as a kubelet does: SIGTERM, and its probes go on until it is gone.
func (r *Replica) Stop(ctx context.Context) error {
	err := r.Process.Stop(ctx)
	r.stopProbe()
	r.probing.Wait()
	r.installation.route(r.serving, false)
	return err
}

func get(ctx context.Context, url string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
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

// freeAddresses returns loopback addresses that nothing listened on a moment ago.
func freeAddresses(n int) ([]string, error) {
	var addresses []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // it only reserved the port
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

func encode(b []byte) string {
	return base64.StdEncoding.EncodeToString(b)
}
