package kubelet

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestStatus(t *testing.T) {
	before, now := metav1.NewTime(time.Unix(100, 0)), metav1.NewTime(time.Unix(200, 0))
	pod := examplePod()
	pod.Status = corev1.PodStatus{PodIP: "10.0.0.1", HostIP: "10.1.0.1", StartTime: &before, Conditions: []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: before},
		{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: before},
		{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: before},
	}}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}
	tests := []struct {
		reason string
		state  state
		// want are the conditions: their kind, status, reason and time, in seconds.
		want map[corev1.PodConditionType][3]any
	}{
		{
			"what has not changed keeps its time",
			state{phase: corev1.PodRunning, current: running, started: true},
			map[corev1.PodConditionType][3]any{
				corev1.PodScheduled: {"True", "", int64(100)}, corev1.PodInitialized: {"True", "", int64(100)}, corev1.PodReadyToStartContainers: {"True", "", int64(200)},
				corev1.ContainersReady: {"False", "ContainersNotReady", int64(200)}, corev1.PodReady: {"False", "ContainersNotReady", int64(100)},
			},
		},
		{
			"ready",
			state{phase: corev1.PodRunning, current: running, started: true, ready: true},
			map[corev1.PodConditionType][3]any{
				corev1.PodScheduled: {"True", "", int64(100)}, corev1.PodInitialized: {"True", "", int64(100)}, corev1.PodReadyToStartContainers: {"True", "", int64(200)},
				corev1.ContainersReady: {"True", "", int64(200)}, corev1.PodReady: {"True", "", int64(200)},
			},
		},
		{
			"completed",
			state{phase: corev1.PodSucceeded, current: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}},
			map[corev1.PodConditionType][3]any{
				corev1.PodScheduled: {"True", "", int64(100)}, corev1.PodInitialized: {"True", "", int64(100)}, corev1.PodReadyToStartContainers: {"False", "", int64(200)},
				corev1.ContainersReady: {"False", "PodCompleted", int64(200)}, corev1.PodReady: {"False", "PodCompleted", int64(100)},
			},
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			status := tc.state.status(pod, now)
			got := map[corev1.PodConditionType][3]any{}
			for _, c := range status.Conditions {
				got[c.Type] = [3]any{string(c.Status), c.Reason, c.LastTransitionTime.Unix()}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
			c := status.ContainerStatuses[0]
			if status.Phase != tc.state.phase || !status.StartTime.Equal(&before) || c.Name != "web" || c.Ready != tc.state.ready || status.PodIPs[0].IP != "10.0.0.1" {
				t.Errorf("status: %+v", status)
			}
		})
	}
}
