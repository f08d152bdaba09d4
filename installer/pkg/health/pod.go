package health

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// podCauses says what is wrong with the pods. Pods with the same fault share a line, which names the first.
func (o observation) podCauses() []string {
	pods := slices.SortedFunc(slices.Values(o.pods), func(a, b corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	type fault struct {
		pod, text string
		others    int
	}
	var faults []fault
	for i := range pods {
		text := o.podCause(&pods[i])
		if text == "" {
			continue
		}
		same := slices.IndexFunc(faults, func(f fault) bool { return f.text == text })
		if same >= 0 {
			faults[same].others++
			continue
		}
		faults = append(faults, fault{pod: pods[i].Name, text: text})
	}
	var causes []string
	for _, f := range faults {
		name := "pod " + f.pod
		if f.others > 0 {
			name += fmt.Sprintf(" and %d more", f.others)
		}
		causes = append(causes, name+": "+f.text)
	}
	return causes
}

// podCause says why a pod is not ready; nothing for one that is, that goes, or that has told nothing.
func (o observation) podCause(pod *corev1.Pod) string {
	if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || hasCondition(pod, corev1.PodReady, corev1.ConditionTrue) {
		return ""
	}
	if pod.Status.Phase == corev1.PodFailed && pod.Status.Reason != "" {
		return reason(pod.Status.Reason, pod.Status.Message)
	}
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if text := containerCause(&c); text != "" {
			return text
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return reason(c.Reason, c.Message)
		}
	}
	// A volume that cannot be mounted, a sandbox that cannot be made, a probe that fails: only Events tell of them.
	if e := newest(o.events, pod.UID, func(*corev1.Event) bool { return true }); e != nil {
		return reason(e.Reason, e.Message)
	}
	return ""
}

func hasCondition(pod *corev1.Pod, kind corev1.PodConditionType, want corev1.ConditionStatus) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == kind && c.Status == want })
}

// containerCause says why a container does not run.
func containerCause(c *corev1.ContainerStatus) string {
	switch waiting, ended := c.State.Waiting, c.State.Terminated; {
	case ended != nil && ended.ExitCode != 0:
		return fmt.Sprintf("container %s %s", c.Name, termination(ended))
	case waiting == nil, waiting.Reason == "", waiting.Reason == "ContainerCreating", waiting.Reason == "PodInitializing":
		return ""
	case waiting.Reason == "CrashLoopBackOff" && c.LastTerminationState.Terminated != nil:
		// Its own message is the length of the pause, which grows.
		return fmt.Sprintf("%s: container %s %s", waiting.Reason, c.Name, termination(c.LastTerminationState.Terminated))
	case waiting.Reason == "CrashLoopBackOff":
		return fmt.Sprintf("%s: container %s", waiting.Reason, c.Name)
	default:
		return reason(waiting.Reason, waiting.Message)
	}
}

// termination says how a container ended, such as "ended with exit code 137 (OOMKilled)".
func termination(t *corev1.ContainerStateTerminated) string {
	text := fmt.Sprintf("ended with exit code %d", t.ExitCode)
	if t.Reason != "" && t.Reason != "Error" {
		text += " (" + t.Reason + ")"
	}
	if t.Message != "" {
		text += ": " + oneLine(t.Message)
	}
	return text
}

func reason(name, message string) string {
	if message == "" {
		return name
	}
	return name + ": " + oneLine(message)
}
