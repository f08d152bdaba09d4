// Package kubelet plays the kubelets of a local control plane: Pods that are bound to a Node run as processes of this
// machine, one for each, and their status is what becomes of the process. Whatever made and bound the Pods is real.
//
// A process gets what its container says: arguments, environment, the token of its ServiceAccount, and volumes as folders.
// It starts in a folder that stands for the root of its file system, so paths that are not absolute are right by themselves;
// absolute ones in arguments and variables are replaced. It is probed, started anew, and told to end as its Pod says, and
// Services whose selector matches it lead there.
//
// Containers are not played: what a Pod says about images, users, capabilities, limits and placement changes nothing. Whatever
// else it says that cannot be played keeps it from starting, which its status and an Event show, and which [Kubelet.Err]
// returns.
package kubelet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
	"github.com/meshwarden/meshwarden/e2e/internal/repository"
)

// period is how often the API server is asked for Pods and Services.
const period = 100 * time.Millisecond

// Options say what to play.
type Options struct {
	// Programs take the places of images, by the end of the repository as in controlplane.Options.KubeletImages. An image of
	// those that has no program is one that cannot be pulled.
	Programs map[string]Program
	// Dir takes what the pods have on disk. Required.
	Dir string
	// Log gets the output of all pods, in whole lines that begin with the pod; nil drops it. It has to be safe for concurrent use.
	Log io.Writer
}

// Kubelet plays all kubelets of a control plane. It is safe for concurrent use.
type Kubelet struct {
	options  Options
	cp       *controlplane.ControlPlane
	client   client.Client
	events   record.EventBroadcaster
	recorder record.EventRecorder

	stop    context.CancelFunc
	stopped sync.WaitGroup

	// numbers counts pods, for their addresses; routes are those that were set.
	numbers int
	routes  map[ServicePort][]string

	mu      sync.Mutex
	workers map[types.UID]*worker
	errs    []error
}

// Start plays the Pods of the control plane's KubeletImages until Stop.
func Start(cp *controlplane.ControlPlane, o Options) (*Kubelet, error) {
	c, err := client.New(cp.Config(), client.Options{})
	if err != nil {
		return nil, fmt.Errorf("play the kubelets: %w", err)
	}
	clientset, err := kubernetes.NewForConfig(cp.Config())
	if err != nil {
		return nil, fmt.Errorf("play the kubelets: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	events := record.NewBroadcaster()
	events.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: clientset.CoreV1().Events("")})
	k := &Kubelet{
		options: o, cp: cp, client: c, stop: cancel, workers: map[types.UID]*worker{}, routes: map[ServicePort][]string{},
		events: events, recorder: events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet"}),
	}
	k.stopped.Go(func() { k.run(ctx) })
	return k, nil
}

// Stop ends all processes, as their pods say or when ctx ends, and returns Err. The Pods stay as they are.
func (k *Kubelet) Stop(ctx context.Context) error {
	k.stop()
	k.stopped.Wait()
	var ending sync.WaitGroup
	for _, w := range k.running() {
		ending.Go(func() { w.end(ctx) })
	}
	ending.Wait()
	k.events.Shutdown()
	return k.Err()
}

// Err returns which pods could not be played so far, and why.
func (k *Kubelet) Err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return errors.Join(k.errs...)
}

func (k *Kubelet) fault(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.errs = append(k.errs, err)
}

// Addresses returns where a port of a Service leads now: the host:port of the pods that are ready.
func (k *Kubelet) Addresses(namespace, service string, port int32) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.routes[ServicePort{namespace, service, port}])
}

func (k *Kubelet) running() []*worker {
	k.mu.Lock()
	defer k.mu.Unlock()
	var workers []*worker
	for _, w := range k.workers {
		workers = append(workers, w)
	}
	return workers
}

func (k *Kubelet) run(ctx context.Context) {
	// The API server may be away for a while. What it did not answer is asked again.
	wait.UntilWithContext(ctx, func(ctx context.Context) { _ = k.step(ctx) }, period)
}

// step starts and ends pods as the API server says now, and has the Services lead to those that are ready.
func (k *Kubelet) step(ctx context.Context) error {
	pods, services := &corev1.PodList{}, &corev1.ServiceList{}
	if err := errors.Join(k.client.List(ctx, pods), k.client.List(ctx, services)); err != nil {
		return err
	}
	there := map[types.UID]bool{}
	for i := range pods.Items {
		pod := &pods.Items[i]
		there[pod.UID] = true
		w := k.worker(pod)
		switch {
		case w != nil && pod.DeletionTimestamp != nil:
			w.terminate(time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second)
		case w == nil && k.mine(pod) && pod.DeletionTimestamp != nil:
			// It never ran here, or what ran has ended before.
			go newWorker(k, pod).remove()
		case w == nil && k.mine(pod):
			k.add(ctx, pod)
		}
	}
	for _, w := range k.running() {
		if !there[w.pod.UID] {
			w.terminate(0)
		}
	}
	return k.route(services.Items)
}

// mine says whether to start the pod.
func (k *Kubelet) mine(pod *corev1.Pod) bool {
	if pod.Spec.NodeName == "" || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return false
	}
	return slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool {
		return slices.ContainsFunc(k.cp.KubeletImages(), func(name string) bool { return repository.Match(c.Image, name) })
	})
}

func (k *Kubelet) worker(pod *corev1.Pod) *worker {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.workers[pod.UID]
}

func (k *Kubelet) add(ctx context.Context, pod *corev1.Pod) {
	k.numbers++
	// KWOK gives the addresses of 10.244.0.0/16. Nothing routes either.
	pod.Status.PodIP = fmt.Sprintf("10.245.%d.%d", k.numbers/250, k.numbers%250+1)
	w := newWorker(k, pod)
	k.mu.Lock()
	k.workers[pod.UID] = w
	k.mu.Unlock()
	go func() {
		w.run(context.WithoutCancel(ctx))
		k.mu.Lock()
		defer k.mu.Unlock()
		// A pod that has ended by itself is kept, so that it is not taken for a new one.
		if w.terminating() {
			delete(k.workers, pod.UID)
		}
	}()
}
