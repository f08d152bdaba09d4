package policy

// Kind is the kind of an object that a rule judges or names.
type Kind string

// The kinds that the rules judge. Both are of the API group networking.istio.io.
const (
	KindGateway        Kind = "Gateway"
	KindVirtualService Kind = "VirtualService"
)

// The kinds that the rules read besides: what Gateways run on, and what leads to it.
const (
	KindService     Kind = "Service"
	KindDeployment  Kind = "Deployment"
	KindDaemonSet   Kind = "DaemonSet"
	KindStatefulSet Kind = "StatefulSet"
	KindPod         Kind = "Pod"
)

// The kinds that say which certificates there are: Kubernetes' Secrets, and the Certificates of cert-manager.io.
const (
	KindSecret      Kind = "Secret"
	KindCertificate Kind = "Certificate"
)

// Key names a namespaced object of a known kind.
type Key struct {
	Namespace, Name string
}

// String returns the key as Istio and kubectl write it: "namespace/name".
func (k Key) String() string {
	return k.Namespace + "/" + k.Name
}

// Ref names an object of any kind.
type Ref struct {
	Kind Kind
	Key
}

// String returns the reference for people: "Gateway namespace/name".
func (r Ref) String() string {
	return string(r.Kind) + " " + r.Key.String()
}

// Resource is a parsed object of the mesh: a *Gateway, *VirtualService, *Workload, *Service, *Secret or *Certificate.
type Resource interface {
	Ref() Ref
}

// Object is what is judged: the state that a request wants stored, or a stored object as it stands.
type Object struct {
	// VirtualService is set when the object is one.
	VirtualService *VirtualService
	// Gateway is set when the object is one, and nil when a Gateway is deleted.
	Gateway *Gateway
	// Replaced is the Gateway as it was before the change under judgement. It is nil on creation, and when a stored
	// object is judged as it stands.
	Replaced *Gateway
	// Standing is set when a stored object is judged as it stands. Of what two objects have against each other, it is then
	// told what it is at fault for; of a change, what it does to others as well.
	Standing bool
}

// Ref names the object. It is the zero Ref for an empty Object.
func (o Object) Ref() Ref {
	switch {
	case o.VirtualService != nil:
		return Ref{Kind: KindVirtualService, Key: o.VirtualService.Key}
	case o.Gateway != nil:
		return Ref{Kind: KindGateway, Key: o.Gateway.Key}
	case o.Replaced != nil:
		return Ref{Kind: KindGateway, Key: o.Replaced.Key}
	}
	return Ref{}
}
