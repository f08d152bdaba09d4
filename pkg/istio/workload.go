package istio

import (
	"slices"
	"strconv"
	"strings"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// What Istio's injector and its proxy are told about a gateway's pods.
const (
	// templatesAnnotation lists the templates that the injector builds the pod from (istio.io/api/annotation:
	// InjectTemplates), and gatewayTemplate is the one of a gateway.
	templatesAnnotation = "inject.istio.io/templates"
	gatewayTemplate     = "gateway"
	// unprivilegedEnv is the environment variable of the proxy's metadata UNPRIVILEGED_POD.
	unprivilegedEnv = "ISTIO_META_UNPRIVILEGED_POD"
)

// podSpec holds the fields of a pod's spec that say whether and how it is a gateway.
type podSpec struct {
	HostNetwork    bool        `json:"hostNetwork"`
	InitContainers []container `json:"initContainers"`
	Containers     []container `json:"containers"`
}

type container struct {
	Name    string   `json:"name"`
	Command []string `json:"command"`
	Args    []string `json:"args"`
	Env     []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"env"`
	Ports []struct {
		Name     string `json:"name"`
		Protocol string `json:"protocol"`
		Number   uint32 `json:"containerPort"`
	} `json:"ports"`
	RestartPolicy string `json:"restartPolicy"`
}

// templatedSpec is the spec of a Deployment, DaemonSet or StatefulSet.
type templatedSpec struct {
	Template struct {
		Metadata struct {
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
		Spec podSpec `json:"spec"`
	} `json:"template"`
}

// templated translates an object that makes pods from a template.
func templated(kind policy.Kind, o *Unparsed) (*policy.Workload, error) {
	spec, err := decodeSpec[templatedSpec](o.Spec, nil)
	if err != nil {
		return nil, err
	}
	template := spec.Template
	return workload(policy.Ref{Kind: kind, Key: keyOf(&o.ObjectMeta)}, template.Metadata.Labels, template.Metadata.Annotations, template.Spec), nil
}

// Pod translates a Pod. The error names the field that cannot be read.
func (t Translator) Pod(p *Pod) (*policy.Workload, error) {
	spec, err := decodeSpec[podSpec](p.Spec, nil)
	if err != nil {
		return nil, err
	}
	return workload(policy.Ref{Kind: policy.KindPod, Key: keyOf(&p.ObjectMeta)}, p.Labels, p.Annotations, spec), nil
}

func workload(ref policy.Ref, labels, annotations map[string]string, spec podSpec) *policy.Workload {
	w := &policy.Workload{Reference: ref, Labels: labels, HostNetwork: spec.HostNetwork}
	for template := range strings.SplitSeq(annotations[templatesAnnotation], ",") {
		w.Router = w.Router || strings.TrimSpace(template) == gatewayTemplate
	}
	for _, c := range slices.Concat(spec.Containers, spec.InitContainers) {
		w.Router = w.Router || c.startsRouter()
		for _, e := range c.Env {
			if unprivileged, err := strconv.ParseBool(e.Value); err == nil && e.Name == unprivilegedEnv {
				w.Unprivileged = unprivileged
			}
		}
	}
	for _, c := range spec.Containers {
		w.Ports = append(w.Ports, c.namedPorts()...)
	}
	for _, c := range spec.InitContainers {
		// Such a container runs beside the others, and Istio's FindPort looks there as well.
		if c.RestartPolicy == "Always" {
			w.Ports = append(w.Ports, c.namedPorts()...)
		}
	}
	return w
}

// startsRouter says whether the container starts Istio's agent as a gateway: "proxy router", as arguments or after the
// name of the program.
func (c container) startsRouter() bool {
	router := []string{"proxy", "router"}
	starts := func(words []string) bool { return len(words) >= 2 && slices.Equal(words[:2], router) }
	words := slices.Concat(c.Command, c.Args)
	return starts(c.Args) || starts(words) || len(words) > 0 && starts(words[1:])
}

func (c container) namedPorts() []policy.ContainerPort {
	var ports []policy.ContainerPort
	for _, p := range c.Ports {
		if p.Name != "" {
			ports = append(ports, policy.ContainerPort{Name: p.Name, Protocol: protocolOf(p.Protocol), Number: p.Number})
		}
	}
	return ports
}

// protocolOf fills in the protocol that the API server gives a port without one.
func protocolOf(written string) string {
	if written == "" {
		return "TCP"
	}
	return written
}
