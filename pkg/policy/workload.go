package policy

import "strings"

// Workload is what runs pods that may be gateways: a Deployment, DaemonSet, StatefulSet, or a Pod of its own. It is never
// changed once it is made.
type Workload struct {
	// Reference names the object. Its namespace is the one that exportTo is compared with.
	Reference Ref
	// Labels are those of its pods.
	Labels map[string]string
	// Router says that the pods are known to run Istio's proxy as a gateway: by the injection template
	// (inject.istio.io/templates), or by a container that starts "proxy router". A Gateway without a selector takes these
	// alone.
	Router bool
	// Unprivileged says that Istio takes the pods for ones that cannot listen below port 1024
	// (ISTIO_META_UNPRIVILEGED_POD).
	Unprivileged bool
	// HostNetwork says that the pods listen on their node's addresses.
	HostNetwork bool
	// Ports are the named ports of the containers, which a Service may refer to by name.
	Ports []ContainerPort
}

// ContainerPort is a named port of a pod.
type ContainerPort struct {
	Name string
	// Protocol is TCP, UDP or SCTP.
	Protocol string
	Number   uint32
}

// mayHave says whether the workload's pods may have all of the labels. What is added to a pod after its template is known for
// no template, and counts as had.
func (w *Workload) mayHave(labels map[string]string) bool {
	for k, v := range labels {
		if have, ok := w.Labels[k]; ok && have != v || !ok && !addedToPods(k) {
			return false
		}
	}
	return true
}

// addedToPods says whether a label is one that pods, or Istio's proxies, get besides those of their template: Istio's
// AugmentLabels (pkg/config/labels) and its injection templates, and Kubernetes' controllers.
func addedToPods(key string) bool {
	for _, prefix := range []string{"topology.istio.io/", "topology.kubernetes.io/", "service.istio.io/canonical-"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	switch key {
	case "kubernetes.io/hostname", "security.istio.io/tlsMode", "pod-template-hash", "controller-revision-hash",
		"pod-template-generation", "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index":
		return true
	}
	return false
}

// Ref names the workload.
func (w *Workload) Ref() Ref {
	return w.Reference
}

// Service is a Kubernetes Service as the rules see it. It is never changed once it is made.
type Service struct {
	Key
	// Created is the creationTimestamp in Unix seconds. The oldest Service that maps a port decides.
	Created int64
	// Selector is what the labels of its pods hold. Empty selects none.
	Selector map[string]string
	Ports    []ServicePort
	// External says that the Service stands for a name outside the mesh (type ExternalName).
	External bool
	// KeepsGatewayPorts says that Gateways' ports are not translated to this Service's target ports: the label
	// experimental.istio.io/disable-gateway-port-translation.
	KeepsGatewayPorts bool
}

// ServicePort is a port of a Service.
type ServicePort struct {
	Number uint32
	// Protocol is TCP, UDP or SCTP.
	Protocol string
	// Application is what Istio takes the traffic for, by appProtocol or the port's name: HTTP, TLS, ...; empty when neither
	// says.
	Application string
	// Target is the port of the pods, and TargetName the name of the container port where it is given by name.
	Target     uint32
	TargetName string
}

// Ref names the Service.
func (s *Service) Ref() Ref {
	return Ref{Kind: KindService, Key: s.Key}
}

// Settings are what Istio has been told for the mesh as a whole, as far as verdicts depend on it.
type Settings struct {
	// ClusterDomain is the DNS domain of the cluster, such as "cluster.local".
	ClusterDomain string
	// DefaultExportTo is where a VirtualService without exportTo is visible: the mesh configuration's
	// defaultVirtualServiceExportTo. Empty means everywhere.
	DefaultExportTo []string
	// ScopeGateways says that a Gateway selects workloads of its own namespace only: istiod's
	// PILOT_SCOPE_GATEWAY_TO_NAMESPACE.
	ScopeGateways bool
	// RootNamespace is the mesh configuration's rootNamespace, such as "istio-system".
	RootNamespace string
}
