// Package conformance holds Meshwarden's rules to Istio's own configuration generator: it makes up meshes at random, asks
// both for their verdict, and shrinks whatever they disagree on to its smallest form.
package conformance

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// Token ends every namespace, and stands in every label value, of a made-up mesh. Meshes with tokens of their own have
// nothing in common, so that one run of Istio's generator can hold many of them. Tokens are equally long: the order of the
// names is the same in each mesh.
type Token string

// NewToken returns the token of that number, which must be below 46656.
func NewToken(n int) Token {
	digits := strconv.FormatInt(int64(n), 36)
	return Token("-x" + strings.Repeat("0", 3-len(digits)) + digits)
}

// World is a mesh as the objects that users write. It is the one description from which both the rules and Istio's
// generator get what they read.
type World struct {
	// Token ends the names in the world, as far as other worlds may meet them.
	Token           Token             `json:"token"`
	Settings        Settings          `json:"settings"`
	Workloads       []*Workload       `json:"workloads,omitempty"`
	Services        []*corev1.Service `json:"services,omitempty"`
	Gateways        []*Gateway        `json:"gateways,omitempty"`
	VirtualServices []*VirtualService `json:"virtualServices,omitempty"`
}

// Settings are the mesh-wide settings of a world.
type Settings struct {
	// DefaultExportTo is defaultVirtualServiceExportTo of Istio's mesh configuration. Nil means that it is not set.
	DefaultExportTo []string `json:"defaultExportTo"`
	// ScopeGateways is istiod's PILOT_SCOPE_GATEWAY_TO_NAMESPACE.
	ScopeGateways bool `json:"scopeGateways,omitempty"`
	// Domain is istiod's --domain, where it is not cluster.local.
	Domain string `json:"domain,omitempty"`
}

// Gateway is an Istio Gateway as it is stored.
type Gateway struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec *networking.Gateway `json:"spec"`
}

// VirtualService is an Istio VirtualService as it is stored.
type VirtualService struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec *networking.VirtualService `json:"spec"`
}

// NewGateway returns an empty Gateway of that name and age, in Unix seconds.
func NewGateway(namespace, name string, created int64) *Gateway {
	return &Gateway{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.istio.io/v1", Kind: string(policy.KindGateway)},
		ObjectMeta: meta(namespace, name, created),
		Spec:       &networking.Gateway{},
	}
}

// NewVirtualService returns an empty VirtualService of that name and age, in Unix seconds.
func NewVirtualService(namespace, name string, created int64) *VirtualService {
	return &VirtualService{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.istio.io/v1", Kind: string(policy.KindVirtualService)},
		ObjectMeta: meta(namespace, name, created),
		Spec:       &networking.VirtualService{},
	}
}

// NewService returns a Service without ports of that name and age, in Unix seconds.
func NewService(namespace, name string, created int64, selector map[string]string) *corev1.Service {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: string(policy.KindService)},
		ObjectMeta: meta(namespace, name, created),
		Spec:       corev1.ServiceSpec{Selector: selector},
	}
}

func meta(namespace, name string, created int64) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: metav1.Unix(created, 0)}
}

// Key names the Gateway.
func (g *Gateway) Key() policy.Key {
	return policy.Key{Namespace: g.Namespace, Name: g.Name}
}

// Key names the VirtualService.
func (v *VirtualService) Key() policy.Key {
	return policy.Key{Namespace: v.Namespace, Name: v.Name}
}

// Workload is what runs pods: as much of it as routing depends on.
type Workload struct {
	// Kind is Deployment, DaemonSet, StatefulSet or Pod.
	Kind      policy.Kind       `json:"kind"`
	Namespace string            `json:"namespace"`
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels,omitempty"`
	// Router has the pods marked for the injection of a gateway.
	Router bool `json:"router,omitempty"`
	// Unprivileged has the proxy say that it cannot listen below port 1024.
	Unprivileged bool `json:"unprivileged,omitempty"`
	// Ports are the ports of its container.
	Ports []corev1.ContainerPort `json:"ports,omitempty"`
}

// Template returns the pod template of the workload.
func (w *Workload) Template() corev1.PodTemplateSpec {
	c := corev1.Container{Name: "istio-proxy", Image: "auto", Ports: w.Ports}
	if w.Unprivileged {
		c.Env = []corev1.EnvVar{{Name: "ISTIO_META_UNPRIVILEGED_POD", Value: "true"}}
	}
	t := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: w.Labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{c}}}
	if w.Router {
		t.Annotations = map[string]string{"inject.istio.io/templates": "gateway"}
	}
	return t
}

// Object returns the workload as the object that the API server stores.
func (w *Workload) Object() any {
	t := w.Template()
	m := metav1.ObjectMeta{Namespace: w.Namespace, Name: w.Name}
	selector := &metav1.LabelSelector{MatchLabels: w.Labels}
	apps := metav1.TypeMeta{APIVersion: "apps/v1", Kind: string(w.Kind)}
	switch w.Kind {
	case policy.KindDaemonSet:
		return &appsv1.DaemonSet{TypeMeta: apps, ObjectMeta: m, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: t}}
	case policy.KindStatefulSet:
		return &appsv1.StatefulSet{TypeMeta: apps, ObjectMeta: m, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: t}}
	case policy.KindPod:
		m.Labels, m.Annotations = t.Labels, t.Annotations
		return &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: string(w.Kind)}, ObjectMeta: m, Spec: t.Spec}
	}
	return &appsv1.Deployment{TypeMeta: apps, ObjectMeta: m, Spec: appsv1.DeploymentSpec{Selector: selector, Template: t}}
}

// Objects returns the objects of the world as the API server stores them, what others refer to first.
func (w *World) Objects() []any {
	var objects []any
	for _, o := range w.Workloads {
		objects = append(objects, o.Object())
	}
	for _, o := range w.Services {
		objects = append(objects, o)
	}
	for _, o := range w.Gateways {
		objects = append(objects, o)
	}
	for _, o := range w.VirtualServices {
		objects = append(objects, o)
	}
	return append(w.Settings.objects(), objects...)
}

// clusterDomain returns the DNS domain of the cluster.
func (s Settings) clusterDomain() string {
	return cmp.Or(s.Domain, "cluster.local")
}

// meshConfig returns the text of the mesh configuration.
func (s Settings) meshConfig() string {
	if s.DefaultExportTo == nil {
		return ""
	}
	text, err := yaml.Marshal(map[string]any{"defaultVirtualServiceExportTo": s.DefaultExportTo})
	if err != nil {
		panic(fmt.Sprintf("cannot write a list of names: %v", err))
	}
	return string(text)
}

// objects returns the settings where Istio keeps them, as far as they are set.
func (s Settings) objects() []any {
	var objects []any
	if text := s.meshConfig(); text != "" {
		objects = append(objects, &corev1.ConfigMap{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
			ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "istio"},
			Data:       map[string]string{"mesh": text},
		})
	}
	discovery := corev1.Container{Name: "discovery"}
	if s.ScopeGateways {
		discovery.Env = []corev1.EnvVar{{Name: "PILOT_SCOPE_GATEWAY_TO_NAMESPACE", Value: "true"}}
	}
	if s.Domain != "" {
		discovery.Args = []string{"discovery", "--domain", s.Domain}
	}
	if !s.ScopeGateways && s.Domain == "" {
		return objects
	}
	labels := map[string]string{"app": "istiod"}
	return append(objects, &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: string(policy.KindDeployment)},
		ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "istiod", Labels: labels},
		Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{discovery}},
		}},
	})
}

// Clone returns a copy that shares nothing with the world.
func (w *World) Clone() *World {
	text, err := json.Marshal(w)
	if err != nil {
		panic(fmt.Sprintf("cannot write a world: %v", err))
	}
	c, err := decodeWorld(text)
	if err != nil {
		panic(err.Error())
	}
	return c
}

func decodeWorld(text []byte) (*World, error) {
	w := &World{}
	if err := json.Unmarshal(text, w); err != nil {
		return nil, fmt.Errorf("cannot read a world: %w", err)
	}
	return w, nil
}

// Gateway returns the Gateway of that name, or nil.
func (w *World) Gateway(key policy.Key) *Gateway {
	i := slices.IndexFunc(w.Gateways, func(g *Gateway) bool { return g.Key() == key })
	if i < 0 {
		return nil
	}
	return w.Gateways[i]
}
