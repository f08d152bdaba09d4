package kubelet

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// AccessPath is where a container finds the token of its ServiceAccount, if it has one.
const AccessPath = "/var/run/secrets/kubernetes.io/serviceaccount"

// readContainer returns the pod's container. What the pod says and cannot be played is an error, unless it is about nodes,
// images and the walls of containers: those there are none of.
func readContainer(pod *corev1.Pod) (*corev1.Container, error) {
	if len(pod.Spec.Containers) != 1 {
		return nil, fmt.Errorf("the pod has %d containers, and only one can be played", len(pod.Spec.Containers))
	}
	container := &pod.Spec.Containers[0]
	errs := []error{leftOver(*pod.Spec.DeepCopy(), *container.DeepCopy())}
	for _, port := range container.Ports {
		if port.Protocol != corev1.ProtocolTCP || port.HostPort != 0 || port.HostIP != "" {
			errs = append(errs, fmt.Errorf("port %d of the container has what is not played", port.ContainerPort))
		}
	}
	for _, p := range []*corev1.Probe{container.StartupProbe, container.ReadinessProbe, container.LivenessProbe} {
		errs = append(errs, checkProbe(p, container.Ports))
	}
	for _, mount := range container.VolumeMounts {
		errs = append(errs, checkMount(pod, mount))
	}
	return container, errors.Join(errs...)
}

// leftOver fails when the pod has anything besides what is played and what there is no sense in.
func leftOver(spec corev1.PodSpec, container corev1.Container) error {
	spec.Containers, spec.Volumes, spec.TerminationGracePeriodSeconds, spec.RestartPolicy = nil, nil, nil, ""
	spec.ServiceAccountName, spec.DeprecatedServiceAccount, spec.AutomountServiceAccountToken = "", "", nil
	// Where it runs, which is decided before, and what it may do there.
	spec.NodeName, spec.NodeSelector, spec.Affinity, spec.Tolerations, spec.TopologySpreadConstraints = "", nil, nil, nil, nil
	spec.PriorityClassName, spec.Priority, spec.PreemptionPolicy, spec.SchedulerName = "", nil, nil, ""
	spec.DNSPolicy, spec.SecurityContext, spec.EnableServiceLinks, spec.ImagePullSecrets = "", nil, nil, nil
	container.Args, container.Env, container.Ports, container.VolumeMounts = nil, nil, nil, nil
	container.ReadinessProbe, container.LivenessProbe, container.StartupProbe = nil, nil, nil
	// What it runs in.
	container.Name, container.Image, container.ImagePullPolicy = "", "", ""
	container.Resources, container.SecurityContext = corev1.ResourceRequirements{}, nil
	container.TerminationMessagePath, container.TerminationMessagePolicy = "", ""
	var errs []error
	for _, rest := range []struct{ value, empty any }{{spec, corev1.PodSpec{}}, {container, corev1.Container{}}} {
		if reflect.DeepEqual(rest.value, rest.empty) {
			continue
		}
		text, err := json.Marshal(rest.value)
		errs = append(errs, fmt.Errorf("the pod has what is not played: %s", text), err)
	}
	return errors.Join(errs...)
}

func checkMount(pod *corev1.Pod, mount corev1.VolumeMount) error {
	volume := volumeOf(pod, mount)
	if volume == nil {
		return fmt.Errorf("there is no volume %s", mount.Name)
	}
	understood := corev1.VolumeMount{Name: mount.Name, MountPath: mount.MountPath, ReadOnly: mount.ReadOnly}
	mount.RecursiveReadOnly = nil
	if !reflect.DeepEqual(mount, understood) {
		return fmt.Errorf("the mount of volume %s has what is not played", mount.Name)
	}
	if volume.EmptyDir != nil {
		return nil
	}
	projections, _ := projectionsOf(volume)
	if len(projections) == 0 {
		return fmt.Errorf("volume %s is of a kind that is not played", mount.Name)
	}
	for _, p := range projections {
		if p.ClusterTrustBundle != nil || p.PodCertificate != nil {
			return fmt.Errorf("volume %s has what is not played", mount.Name)
		}
		if p.DownwardAPI == nil {
			continue
		}
		for _, item := range p.DownwardAPI.Items {
			if item.ResourceFieldRef != nil {
				return fmt.Errorf("volume %s has an amount of a resource, and those are played in variables only", mount.Name)
			}
		}
	}
	return nil
}

func volumeOf(pod *corev1.Pod, mount corev1.VolumeMount) *corev1.Volume {
	at := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
	if at < 0 {
		return nil
	}
	return &pod.Spec.Volumes[at]
}
