package meshwarden

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/meshwarden/meshwarden/cmd/webhook/serve"
)

// Names of the container's ports.
const (
	webhookPort = "webhook"
	healthPort  = "health"
	metricsPort = "metrics"
)

// pod is what there is to play of a pod: everything that a process on this machine can have.
type pod struct {
	namespace, serviceAccount string
	gracePeriod               time.Duration
	args, env                 []string
	// ports are the container's, by name.
	ports map[string]int32
	// readiness decides who leads there; where one of the restarts fails, a kubelet starts the container anew.
	readiness probe
	restarts  []probe
	volumes   []secretVolume
}

// probe asks a port of the container, by its name.
type probe struct{ port, path string }

// secretVolume is a Secret, mounted as a folder.
type secretVolume struct {
	secret, mountPath string
	mode              int32
}

// readPod returns what the template, as the API server has it, says. What it says and pod cannot hold is an error, unless
// it is about nodes and containers.
func readPod(template corev1.PodTemplateSpec, podName string) (pod, error) {
	spec := *template.Spec.DeepCopy()
	if len(spec.Containers) != 1 {
		return pod{}, fmt.Errorf("the pod has %d containers, and only one can be run", len(spec.Containers))
	}
	container := spec.Containers[0]
	p := pod{
		namespace: template.Namespace, serviceAccount: spec.ServiceAccountName, args: container.Args, ports: map[string]int32{},
		gracePeriod: time.Duration(ptr.Deref(spec.TerminationGracePeriodSeconds, 0)) * time.Second,
	}
	if !ptr.Deref(spec.AutomountServiceAccountToken, false) {
		return pod{}, errors.New("the pod does not ask for a token of its ServiceAccount")
	}
	for _, arg := range p.args {
		if strings.Contains(arg, "$(") {
			return pod{}, fmt.Errorf("argument %q refers to a variable, and those are not replaced here", arg)
		}
	}
	for _, port := range container.Ports {
		if port.Name == "" || port.Protocol != corev1.ProtocolTCP || port.HostPort != 0 || port.HostIP != "" {
			return pod{}, fmt.Errorf("port %d of the container has no name, or what is not played here", port.ContainerPort)
		}
		p.ports[port.Name] = port.ContainerPort
	}
	err := errors.Join(
		p.readEnv(container, podName), p.readProbes(container), p.readVolumes(spec.Volumes, container.VolumeMounts), leftOver(spec, container),
	)
	return p, err
}

// leftOver fails when the pod has anything besides what pod holds and what is about nodes and containers alone.
func leftOver(spec corev1.PodSpec, container corev1.Container) error {
	spec.Containers, spec.Volumes, spec.TerminationGracePeriodSeconds = nil, nil, nil
	spec.ServiceAccountName, spec.DeprecatedServiceAccount, spec.AutomountServiceAccountToken = "", "", nil
	// Where it runs, and what it may do there.
	spec.NodeSelector, spec.TopologySpreadConstraints, spec.PriorityClassName = nil, nil, ""
	spec.RestartPolicy, spec.DNSPolicy, spec.SchedulerName, spec.SecurityContext = "", "", "", nil
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
		errs = append(errs, fmt.Errorf("the pod has what is not played here: %s", text), err)
	}
	return errors.Join(errs...)
}

func (p *pod) readEnv(container corev1.Container, podName string) error {
	if len(container.EnvFrom) > 0 {
		return errors.New("envFrom is not played here")
	}
	for _, v := range container.Env {
		value, source := v.Value, v.ValueFrom
		var err error
		switch {
		case source == nil && strings.Contains(value, "$("):
			err = errors.New("it refers to another one, and those are not replaced here")
		case source == nil:
		case source.ResourceFieldRef != nil:
			value, err = resourceField(container, source.ResourceFieldRef)
		case source.FieldRef != nil && source.FieldRef.FieldPath == "metadata.name":
			value = podName
		case source.FieldRef != nil && source.FieldRef.FieldPath == "metadata.namespace":
			value = p.namespace
		default:
			err = errors.New("where it comes from is not played here")
		}
		if err != nil {
			return fmt.Errorf("environment variable %s: %w", v.Name, err)
		}
		p.env = append(p.env, v.Name+"="+value)
	}
	return nil
}

// resourceField returns an amount of the container's own resources, in units of the divisor and rounded up.
func resourceField(container corev1.Container, ref *corev1.ResourceFieldSelector) (string, error) {
	if ref.ContainerName != "" && ref.ContainerName != container.Name {
		return "", fmt.Errorf("there is no container %s", ref.ContainerName)
	}
	kind, name, _ := strings.Cut(ref.Resource, ".")
	list, known := map[string]corev1.ResourceList{"limits": container.Resources.Limits, "requests": container.Resources.Requests}[kind]
	amount, given := list[corev1.ResourceName(name)]
	if !known || !given {
		return "", fmt.Errorf("the container has no %s, and a node's own are not played here", ref.Resource)
	}
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	if amount.MilliValue()%1000 != 0 || divisor.MilliValue()%1000 != 0 {
		return "", errors.New("fractions are not played here")
	}
	return strconv.FormatInt((amount.Value()+divisor.Value()-1)/divisor.Value(), 10), nil
}

func (p *pod) readProbes(container corev1.Container) error {
	read := func(given *corev1.Probe) (probe, error) {
		if given == nil || given.HTTPGet == nil {
			return probe{}, errors.New("a probe is missing, or not by HTTP")
		}
		get := given.HTTPGet
		if get.Host != "" || len(get.HTTPHeaders) > 0 || get.Scheme != corev1.URISchemeHTTP {
			return probe{}, fmt.Errorf("the probe of %s has what is not played here", get.Path)
		}
		for name, number := range p.ports {
			if name == get.Port.StrVal || number == get.Port.IntVal {
				return probe{port: name, path: get.Path}, nil
			}
		}
		return probe{}, fmt.Errorf("the probe of %s asks port %s, which the container does not have", get.Path, get.Port.String())
	}
	var err error
	if p.readiness, err = read(container.ReadinessProbe); err != nil {
		return err
	}
	for _, given := range []*corev1.Probe{container.StartupProbe, container.LivenessProbe} {
		if given == nil {
			continue
		}
		restarting, err := read(given)
		if err != nil {
			return err
		}
		p.restarts = append(p.restarts, restarting)
	}
	return nil
}

func (p *pod) readVolumes(volumes []corev1.Volume, mounts []corev1.VolumeMount) error {
	for _, mount := range mounts {
		at := slices.IndexFunc(volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
		if at < 0 || volumes[at].Secret == nil {
			return fmt.Errorf("volume %s is missing, or no Secret", mount.Name)
		}
		source := volumes[at].Secret
		mount.RecursiveReadOnly, mount.Name = nil, ""
		understood := corev1.VolumeMount{MountPath: mount.MountPath, ReadOnly: true}
		if len(source.Items) > 0 || source.Optional != nil || !reflect.DeepEqual(mount, understood) {
			return fmt.Errorf("volume %s has what is not played here, or is not read-only", volumes[at].Name)
		}
		p.volumes = append(p.volumes, secretVolume{
			secret: source.SecretName, mountPath: mount.MountPath, mode: ptr.Deref(source.DefaultMode, corev1.SecretVolumeSourceDefaultMode),
		})
	}
	return nil
}

// placement is where on this machine the parts of a pod are.
type placement struct {
	kubeconfig string
	addresses  map[string]string // of the ports, by name
	folders    map[string]string // of the volumes, by mountPath
}

// arguments are those of the container, followed by what has to differ where pods share a machine: addresses, folders, and
// the way to the API server.
func (p pod) arguments(at placement) ([]string, error) {
	defaults := serve.NewOptions()
	var args []string
	for _, arg := range p.args {
		args = append(args, relocated(arg, at.folders))
	}
	args = append(args, "--kubeconfig="+at.kubeconfig, "--namespace="+p.namespace)
	for _, listener := range []struct{ port, option, address string }{
		{webhookPort, "--bind-address=", defaults.BindAddress},
		{healthPort, "--health-address=", defaults.HealthAddress},
		{metricsPort, "--metrics-address=", defaults.MetricsAddress},
	} {
		_, number, err := net.SplitHostPort(listener.address)
		if err != nil {
			return nil, err
		}
		if got := strconv.Itoa(int(p.ports[listener.port])); got != number {
			return nil, fmt.Errorf("port %s of the container is %s, but Meshwarden listens on %s", listener.port, got, number)
		}
		args = append(args, listener.option+at.addresses[listener.port])
	}
	if folder, mounted := at.folders[defaults.CertDir]; mounted {
		args = append(args, "--cert-dir="+folder)
	}
	return args, nil
}

// relocated returns the argument with the folder in place of the mountPath, if its value is a path there.
func relocated(arg string, folders map[string]string) string {
	option, path, ok := strings.Cut(arg, "=")
	for _, mountPath := range slices.Sorted(maps.Keys(folders)) {
		if rest, below := strings.CutPrefix(path, mountPath); ok && below && (rest == "" || rest[0] == '/') {
			return option + "=" + filepath.Join(folders[mountPath], rest)
		}
	}
	return arg
}
