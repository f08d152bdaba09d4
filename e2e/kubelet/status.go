package kubelet

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// state is what becomes of a container.
type state struct {
	// current is what it does now, last how its last run ended.
	current, last corev1.ContainerState
	restarts      int32
	started       bool
	ready         bool
	phase         corev1.PodPhase
}

// waiting is a container that does not run, and why not.
func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

// status returns what a kubelet reports of the pod. Conditions of others stay; those that do not change keep their time.
func (s state) status(pod *corev1.Pod, now metav1.Time) corev1.PodStatus {
	status := *pod.Status.DeepCopy()
	status.Phase, status.ObservedGeneration = s.phase, pod.Generation
	if status.StartTime == nil {
		status.StartTime = &now
	}
	if status.PodIP != "" {
		status.PodIPs = []corev1.PodIP{{IP: status.PodIP}}
	}
	if status.HostIP != "" {
		status.HostIPs = []corev1.HostIP{{IP: status.HostIP}}
	}
	container := pod.Spec.Containers[0]
	status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: container.Name, Image: container.Image, Ready: s.ready, Started: ptr.To(s.started), RestartCount: s.restarts,
		State: s.current, LastTerminationState: s.last,
	}}
	completed := s.phase == corev1.PodSucceeded
	for _, c := range []struct {
		kind corev1.PodConditionType
		true bool
		why  string
	}{
		{kind: corev1.PodReadyToStartContainers, true: s.phase == corev1.PodRunning},
		{kind: corev1.PodInitialized, true: true},
		{kind: corev1.ContainersReady, true: s.ready, why: notReady(completed)},
		{kind: corev1.PodReady, true: s.ready, why: notReady(completed)},
	} {
		condition := corev1.PodCondition{Type: c.kind, Status: corev1.ConditionFalse, Reason: c.why, LastTransitionTime: now}
		if c.true {
			condition.Status, condition.Reason = corev1.ConditionTrue, ""
		}
		setCondition(&status, condition)
	}
	return status
}

func notReady(completed bool) string {
	if completed {
		return "PodCompleted"
	}
	return "ContainersNotReady"
}

func setCondition(status *corev1.PodStatus, condition corev1.PodCondition) {
	for i, old := range status.Conditions {
		if old.Type != condition.Type {
			continue
		}
		if old.Status == condition.Status {
			condition.LastTransitionTime = old.LastTransitionTime
		}
		status.Conditions[i] = condition
		return
	}
	status.Conditions = append(status.Conditions, condition)
}
