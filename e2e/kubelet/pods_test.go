package kubelet_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// shell is a pod that runs a script once.
func shell(name, script string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers:    []corev1.Container{{Name: "main", Image: "example.com/shell:1", Args: []string{"-c", script}}},
		},
	}
}

// server is a pod that serves.
func server(name string) *corev1.Pod {
	probe := func(path string) *corev1.Probe {
		return &corev1.Probe{
			PeriodSeconds: 1, FailureThreshold: 1,
			ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("http")}},
		}
	}
	// Without it, a process that takes its time to listen would be taken for one that is not alive.
	startup := probe("/live")
	startup.FailureThreshold = int32(patience.Seconds())
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "main", Image: "example.com/server:1", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
			StartupProbe: startup, ReadinessProbe: probe("/ready"), LivenessProbe: probe("/live"),
		}}},
	}
}

// wait reads the pod until the condition holds.
func (f *fixture) wait(t *testing.T, pod *corev1.Pod, condition func() error) {
	t.Helper()
	eventually(t, "pod "+pod.Name+" is as it should", func(ctx context.Context) error {
		if err := f.client.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		if len(pod.Status.ContainerStatuses) == 0 {
			return fmt.Errorf("its status is %+v", pod.Status)
		}
		return condition()
	})
}

func eventually(t *testing.T, what string, condition func(context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		last = condition(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("wait until %s: %v: %v", what, err, last)
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// background is a context for cleaning up, when the test's own has ended.
func background(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	t.Cleanup(cancel)
	return ctx
}

// lines is a log that is safe for concurrent use.
type lines struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.Write(line)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.String()
}

// has says whether the line is in the log.
func (l *lines) has(line string) bool {
	return strings.Contains("\n"+l.text(), "\n"+line+"\n")
}
