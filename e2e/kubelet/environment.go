package kubelet

import (
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/api/v1/resource"
	"k8s.io/kubernetes/pkg/fieldpath"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// environment returns the variables of the container, by name. allocatable is what the node has, which stands in for limits
// that the container does not have.
func environment(pod *corev1.Pod, container *corev1.Container, allocatable corev1.ResourceList) (map[string]string, error) {
	variables := map[string]string{}
	for _, v := range container.Env {
		value := expansion.Expand(v.Value, expansion.MappingFuncFor(variables))
		var err error
		switch source := v.ValueFrom; {
		case source == nil:
		case source.FieldRef != nil:
			value, err = podField(pod, source.FieldRef.FieldPath)
		case source.ResourceFieldRef != nil:
			value, err = resourceField(container, source.ResourceFieldRef, allocatable)
		default:
			err = errors.New("where it comes from is not played")
		}
		if err != nil {
			return nil, fmt.Errorf("environment variable %s: %w", v.Name, err)
		}
		variables[v.Name] = value
	}
	return variables, nil
}

// podField returns what a variable can refer to of its pod.
func podField(pod *corev1.Pod, path string) (string, error) {
	switch path {
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.hostIP", "status.hostIPs":
		return pod.Status.HostIP, nil
	case "status.podIP", "status.podIPs":
		return pod.Status.PodIP, nil
	}
	return fieldpath.ExtractFieldPathAsString(pod, path)
}

func resourceField(container *corev1.Container, ref *corev1.ResourceFieldSelector, allocatable corev1.ResourceList) (string, error) {
	if ref.ContainerName != "" && ref.ContainerName != container.Name {
		return "", fmt.Errorf("there is no container %s", ref.ContainerName)
	}
	container = container.DeepCopy()
	resource.MergeContainerResourceLimits(container, allocatable)
	if name, isLimit := strings.CutPrefix(ref.Resource, "limits."); isLimit {
		if _, given := container.Resources.Limits[corev1.ResourceName(name)]; !given {
			return "", fmt.Errorf("the container has no %s, and there is no node that has", ref.Resource)
		}
	}
	return resource.ExtractContainerResourceValue(ref, container)
}
