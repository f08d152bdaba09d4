package kubelet

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/process"
)

const (
	// backoff is how long a container that ended waits to be started anew, the first time; it doubles up to backoffMax. A
	// kubelet's is 10 seconds to 5 minutes, and tests would wait for it.
	backoff    = 500 * time.Millisecond
	backoffMax = 10 * time.Second
	// reportTimeout bounds the attempts to write a status.
	reportTimeout = time.Minute
)

// worker does what a kubelet does for one pod.
type worker struct {
	kubelet *Kubelet
	pod     *corev1.Pod
	// ending is closed when the pod is to end, which then may take grace.
	ending chan struct{}
	// done is closed when it has ended.
	done chan struct{}

	mu      sync.Mutex
	grace   *time.Duration
	deleted bool
	process *process.Process
	sandbox *Sandbox
	state   state
}

func newWorker(k *Kubelet, pod *corev1.Pod) *worker {
	return &worker{
		kubelet: k, pod: pod, ending: make(chan struct{}), done: make(chan struct{}),
		state: state{phase: corev1.PodPending, current: waiting("ContainerCreating", "")},
	}
}

// terminate tells the pod to end, because it was deleted. It can be repeated.
func (w *worker) terminate(grace time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deleted = true
	w.cease(grace)
}

// end ends the pod although it is not deleted, and waits for it.
func (w *worker) end(ctx context.Context) {
	w.mu.Lock()
	grace := corev1.DefaultTerminationGracePeriodSeconds * time.Second
	if deadline, ok := ctx.Deadline(); ok {
		grace = min(grace, time.Until(deadline))
	}
	w.cease(grace)
	w.mu.Unlock()
	<-w.done
}

func (w *worker) cease(grace time.Duration) {
	if w.grace == nil {
		w.grace = &grace
		w.state.ready = false
		close(w.ending)
	}
}

func (w *worker) terminating() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.deleted
}

func (w *worker) endpoint() Endpoint {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := Endpoint{Namespace: w.pod.Namespace, Labels: w.pod.Labels, Ports: w.pod.Spec.Containers[0].Ports, Ready: w.state.ready}
	if w.sandbox != nil {
		e.Addresses = w.sandbox.Addresses
	}
	return e
}

// run plays the pod from its start to its end.
func (w *worker) run(ctx context.Context) {
	defer close(w.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		<-w.ending
		cancel()
	}()
	if w.prepare(ctx) {
		var following sync.WaitGroup
		following.Go(func() { w.sandbox.Follow(ctx, nil) })
		w.repeat(ctx)
		following.Wait()
	}
	w.giveUpPorts()
	// A pod that has ended stays until it is deleted.
	<-w.ending
	if w.terminating() {
		w.remove()
	}
}

// giveUpPorts leaves the ports of a process that has ended to others.
func (w *worker) giveUpPorts() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sandbox != nil {
		w.sandbox.Close()
	}
}

// prepare makes what the container needs. It says whether that has come about.
func (w *worker) prepare(ctx context.Context) bool {
	image := w.pod.Spec.Containers[0].Image
	program, ok := programFor(w.kubelet.options.Programs, image)
	if !ok {
		text := fmt.Sprintf("no program takes the place of image %q", image)
		w.warn("Failed", `Failed to pull image "`+image+`": `+text)
		w.report(func(s *state) { s.current = waiting("ImagePullBackOff", text) })
		return false
	}
	node := &corev1.Node{}
	if err := w.kubelet.client.Get(ctx, client.ObjectKey{Name: w.pod.Spec.NodeName}, node); err == nil && len(node.Status.Addresses) > 0 {
		w.pod.Status.HostIP = node.Status.Addresses[0].Address
	}
	sandbox, err := NewSandbox(w.kubelet.cp, w.pod, SandboxOptions{
		Program: program, Dir: filepath.Join(w.kubelet.options.Dir, string(w.pod.UID)), Allocatable: node.Status.Allocatable,
	})
	if err != nil {
		w.kubelet.fault(fmt.Errorf("play pod %s/%s: %w", w.pod.Namespace, w.pod.Name, err))
		w.warn("Failed", "Error: "+err.Error())
		w.report(func(s *state) { s.current = waiting("CreateContainerConfigError", err.Error()) })
		return false
	}
	w.mu.Lock()
	w.sandbox = sandbox
	w.mu.Unlock()
	w.report(func(*state) {})
	said := ""
	return wait.PollUntilContextCancel(ctx, syncPeriod, true, func(ctx context.Context) (bool, error) {
		err := sandbox.Mount(ctx)
		if err != nil && ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			w.warn("FailedMount", said)
		}
		return err == nil, nil
	}) == nil
}

// repeat runs the container until it is not to be started again.
func (w *worker) repeat(ctx context.Context) {
	for delay := backoff; ; delay = min(2*delay, backoffMax) {
		ended := w.runOnce(ctx)
		failed := ended.ExitCode != 0
		again := w.pod.Spec.RestartPolicy == corev1.RestartPolicyAlways || w.pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure && failed
		if ctx.Err() != nil || !again {
			w.report(func(s *state) {
				s.current, s.ready, s.started = corev1.ContainerState{Terminated: &ended}, false, false
				s.phase = corev1.PodSucceeded
				if failed {
					s.phase = corev1.PodFailed
				}
			})
			return
		}
		text := fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
			delay, w.pod.Spec.Containers[0].Name, w.pod.Name, w.pod.Namespace, w.pod.UID)
		w.warn("BackOff", "Back-off restarting failed container")
		w.report(func(s *state) {
			s.last, s.current = corev1.ContainerState{Terminated: &ended}, waiting("CrashLoopBackOff", text)
			s.ready, s.started = false, false
		})
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
			w.report(func(s *state) { s.restarts++ })
		}
	}
}

// runOnce runs the container from start to end, and returns how it ended.
func (w *worker) runOnce(ctx context.Context) corev1.ContainerStateTerminated {
	begin := metav1.Now()
	ended := corev1.ContainerStateTerminated{StartedAt: begin, Reason: "Completed"}
	child, err := w.sandbox.Start(w.log())
	if err != nil {
		ended.ExitCode, ended.Reason, ended.Message, ended.FinishedAt = 128, "StartError", err.Error(), metav1.Now()
		return ended
	}
	w.mu.Lock()
	w.process = child
	w.mu.Unlock()
	w.report(func(s *state) {
		s.phase, s.current = corev1.PodRunning, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: begin}}
	})
	w.attend(ctx, child)
	ended.ExitCode, ended.FinishedAt = int32(child.ExitCode()), metav1.Now()
	if err := child.Err(); err != nil {
		ended.Reason = "Error"
		if w.pod.Spec.Containers[0].TerminationMessagePolicy == corev1.TerminationMessageFallbackToLogsOnError {
			ended.Message = err.Error()
		}
	}
	return ended
}

// attend probes the process until it ends, and ends it when the pod is to end or a probe says so.
func (w *worker) attend(ctx context.Context, child *process.Process) {
	health := newHealth(w.sandbox)
	ticker := time.NewTicker(probePeriod)
	defer ticker.Stop()
	for {
		select {
		case <-child.Done():
			return
		case <-ctx.Done():
			w.stop(child, *w.grace)
			return
		case <-ticker.C:
		}
		health.ask(ctx)
		if ctx.Err() == nil {
			w.report(func(s *state) { s.started, s.ready = health.started, health.ready })
		}
		if health.failed != nil {
			w.warn("Unhealthy", health.failed.Error())
			w.stop(child, w.sandbox.GracePeriod)
			return
		}
	}
}

// stop tells the process to end, and ends it by force after the grace period.
func (w *worker) stop(child *process.Process, grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	// How it ended is in its status.
	_ = child.Stop(ctx)
}

// report changes the state and writes the pod's status, if that changes.
func (w *worker) report(change func(*state)) {
	w.mu.Lock()
	before := w.state
	change(&w.state)
	if w.grace != nil {
		w.state.ready = false
	}
	after := w.state
	unchanged := before == after && w.pod.Status.StartTime != nil
	w.mu.Unlock()
	if unchanged {
		return
	}
	old := w.pod.DeepCopy()
	old.Status = corev1.PodStatus{Conditions: old.Status.Conditions}
	status := after.status(w.pod, metav1.Now())
	ctx, cancel := context.WithTimeout(context.Background(), reportTimeout)
	defer cancel()
	_ = wait.PollUntilContextCancel(ctx, syncPeriod, true, func(ctx context.Context) (bool, error) {
		changed := old.DeepCopy()
		changed.Status = status
		err := w.kubelet.client.Status().Patch(ctx, changed, client.StrategicMergeFrom(old))
		return err == nil, client.IgnoreNotFound(err)
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pod.Status = status
}

// remove takes the pod away, whose process has ended.
func (w *worker) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), reportTimeout)
	defer cancel()
	options := &client.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0), Preconditions: &metav1.Preconditions{UID: &w.pod.UID}}
	_ = wait.PollUntilContextCancel(ctx, syncPeriod, true, func(ctx context.Context) (bool, error) {
		err := w.kubelet.client.Delete(ctx, w.pod.DeepCopy(), options)
		return err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err), nil
	})
}

// warn tells of the pod what a kubelet would, in an Event.
func (w *worker) warn(reason, message string) {
	w.kubelet.recorder.Event(w.pod, corev1.EventTypeWarning, reason, message)
}

// log returns where the pod's output goes.
func (w *worker) log() io.Writer {
	if w.kubelet.options.Log == nil {
		return nil
	}
	return prefixed{prefix: "[" + w.pod.Namespace + "/" + w.pod.Name + "] ", next: w.kubelet.options.Log}
}

// prefixed says at the beginning of each line whose it is. It gets one line a call, as process.Config promises.
type prefixed struct {
	prefix string
	next   io.Writer
}

func (p prefixed) Write(line []byte) (int, error) {
	if _, err := p.next.Write(append([]byte(p.prefix), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}
