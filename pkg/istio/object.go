// Package istio translates Istio's objects, and what Gateways run on and take their certificates from, into the values that the
// rules judge. It resolves here, once, what Istio writes in short: host names without a domain, the namespace parts "./" and
// "*/", and the forms of a gateway's name.
package istio

import (
	"encoding/json"
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Unparsed is an object as the API server sends it, its spec not yet parsed: one that cannot be parsed must not hide the
// other objects of a list.
type Unparsed struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec json.RawMessage `json:"spec,omitempty"`
}

func (u *Unparsed) clone() *Unparsed {
	return &Unparsed{TypeMeta: u.TypeMeta, ObjectMeta: *u.DeepCopy(), Spec: append(json.RawMessage(nil), u.Spec...)}
}

type (
	// Gateway is a Gateway as the API server sends it.
	Gateway Unparsed
	// VirtualService is a VirtualService as the API server sends it.
	VirtualService Unparsed
	// Service is a Kubernetes Service as the API server sends it.
	Service Unparsed
	// Deployment is a Deployment as the API server sends it.
	Deployment Unparsed
	// DaemonSet is a DaemonSet as the API server sends it.
	DaemonSet Unparsed
	// StatefulSet is a StatefulSet as the API server sends it.
	StatefulSet Unparsed
	// Pod is a Pod as the API server sends it.
	Pod Unparsed
)

// ConfigMap is a ConfigMap as the API server sends it. That of Istio holds the configuration of the mesh: ParseMeshConfig.
type ConfigMap struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Data map[string]string `json:"data,omitempty"`
}

// List is a list of objects as the API server sends it.
type List[T any] struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []T `json:"items"`
}

type (
	// GatewayList is a list of Gateways.
	GatewayList = List[Gateway]
	// VirtualServiceList is a list of VirtualServices.
	VirtualServiceList = List[VirtualService]
	// ServiceList is a list of Services.
	ServiceList = List[Service]
	// DeploymentList is a list of Deployments.
	DeploymentList = List[Deployment]
	// DaemonSetList is a list of DaemonSets.
	DaemonSetList = List[DaemonSet]
	// StatefulSetList is a list of StatefulSets.
	StatefulSetList = List[StatefulSet]
	// PodList is a list of Pods.
	PodList = List[Pod]
	// ConfigMapList is a list of ConfigMaps.
	ConfigMapList = List[ConfigMap]
	// SecretList is a list of Secrets.
	SecretList = List[Secret]
	// CertificateList is a list of Certificates.
	CertificateList = List[Certificate]
)

// DeepCopyObject implements runtime.Object.
func (g *Gateway) DeepCopyObject() runtime.Object { return (*Gateway)((*Unparsed)(g).clone()) }

// DeepCopyObject implements runtime.Object.
func (v *VirtualService) DeepCopyObject() runtime.Object {
	return (*VirtualService)((*Unparsed)(v).clone())
}

// DeepCopyObject implements runtime.Object.
func (s *Service) DeepCopyObject() runtime.Object { return (*Service)((*Unparsed)(s).clone()) }

// DeepCopyObject implements runtime.Object.
func (d *Deployment) DeepCopyObject() runtime.Object { return (*Deployment)((*Unparsed)(d).clone()) }

// DeepCopyObject implements runtime.Object.
func (d *DaemonSet) DeepCopyObject() runtime.Object { return (*DaemonSet)((*Unparsed)(d).clone()) }

// DeepCopyObject implements runtime.Object.
func (s *StatefulSet) DeepCopyObject() runtime.Object { return (*StatefulSet)((*Unparsed)(s).clone()) }

// DeepCopyObject implements runtime.Object.
func (p *Pod) DeepCopyObject() runtime.Object { return (*Pod)((*Unparsed)(p).clone()) }

// DeepCopyObject implements runtime.Object.
func (c *ConfigMap) DeepCopyObject() runtime.Object {
	return &ConfigMap{TypeMeta: c.TypeMeta, ObjectMeta: *c.DeepCopy(), Data: maps.Clone(c.Data)}
}

// DeepCopyObject implements runtime.Object. The items must be objects themselves, as those of the lists above are.
func (l *List[T]) DeepCopyObject() runtime.Object {
	c := &List[T]{TypeMeta: l.TypeMeta, ListMeta: *l.DeepCopy(), Items: make([]T, len(l.Items))}
	for i := range l.Items {
		if item, ok := any(&l.Items[i]).(runtime.Object); ok {
			c.Items[i] = *any(item.DeepCopyObject()).(*T)
		}
	}
	return c
}

// Object is an object as the API server sends it: a *Gateway, *VirtualService, *Service, *Deployment, *DaemonSet,
// *StatefulSet, *Pod, *ConfigMap, *Secret or *Certificate.
type Object interface {
	metav1.Object
	runtime.Object
}
