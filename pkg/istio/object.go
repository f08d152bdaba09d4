// Package istio translates Istio's objects into the values that the rules judge. It resolves here, once, what Istio
// writes in short: host names without a domain, the namespace parts "./" and "*/", and the forms of a gateway's name.
package istio

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// GroupVersion returns the version in which Meshwarden reads and judges Istio's objects. The API server converts the older
// ones to it.
func GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: "networking.istio.io", Version: "v1"}
}

// Gateway is a Gateway as the API server sends it, its spec not yet parsed: one that cannot be parsed must not hide the
// other objects of a list.
type Gateway struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec json.RawMessage `json:"spec,omitempty"`
}

// GatewayList is a list of Gateways as the API server sends it.
type GatewayList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Gateway `json:"items"`
}

// VirtualService is a VirtualService as the API server sends it, its spec not yet parsed.
type VirtualService struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec json.RawMessage `json:"spec,omitempty"`
}

// VirtualServiceList is a list of VirtualServices as the API server sends it.
type VirtualServiceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []VirtualService `json:"items"`
}

// Object is an object of the mesh as the API server sends it: a *Gateway or a *VirtualService.
type Object interface {
	metav1.Object
	runtime.Object
}

// NewObject returns an empty object of the kind, or false for a kind that is none of the mesh's.
func NewObject(kind policy.Kind) (Object, bool) {
	switch kind {
	case policy.KindGateway:
		return &Gateway{}, true
	case policy.KindVirtualService:
		return &VirtualService{}, true
	}
	return nil, false
}

// AddToScheme registers the package's types as those of GroupVersion.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion(), &Gateway{}, &GatewayList{}, &VirtualService{}, &VirtualServiceList{})
	metav1.AddToGroupVersion(s, GroupVersion())
	return nil
}

// DeepCopyObject implements runtime.Object.
func (g *Gateway) DeepCopyObject() runtime.Object {
	return &Gateway{TypeMeta: g.TypeMeta, ObjectMeta: *g.DeepCopy(), Spec: copyRaw(g.Spec)}
}

// DeepCopyObject implements runtime.Object.
func (l *GatewayList) DeepCopyObject() runtime.Object {
	c := &GatewayList{TypeMeta: l.TypeMeta, ListMeta: *l.DeepCopy(), Items: make([]Gateway, len(l.Items))}
	for i := range l.Items {
		c.Items[i] = *l.Items[i].DeepCopyObject().(*Gateway)
	}
	return c
}

// DeepCopyObject implements runtime.Object.
func (v *VirtualService) DeepCopyObject() runtime.Object {
	return &VirtualService{TypeMeta: v.TypeMeta, ObjectMeta: *v.DeepCopy(), Spec: copyRaw(v.Spec)}
}

// DeepCopyObject implements runtime.Object.
func (l *VirtualServiceList) DeepCopyObject() runtime.Object {
	c := &VirtualServiceList{TypeMeta: l.TypeMeta, ListMeta: *l.DeepCopy(), Items: make([]VirtualService, len(l.Items))}
	for i := range l.Items {
		c.Items[i] = *l.Items[i].DeepCopyObject().(*VirtualService)
	}
	return c
}

func copyRaw(raw json.RawMessage) json.RawMessage {
	return append(json.RawMessage(nil), raw...)
}
