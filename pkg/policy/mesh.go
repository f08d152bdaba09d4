package policy

import (
	"iter"
	"time"
)

// Mesh is the world as the rules see it: the stored objects with the object under judgement applied. It does not change
// while a rule reads it, and a rule must not change what it is handed.
type Mesh interface {
	// Gateway returns the Gateway of that name, or false when there is none.
	Gateway(Key) (*Gateway, bool)
	// GatewaysNamed yields the Gateways of that name in all namespaces, ordered by namespace.
	GatewaysNamed(name string) iter.Seq[*Gateway]
	// VirtualServicesOf yields the VirtualServices that name the Gateway in spec.gateways, ordered by namespace and name.
	VirtualServicesOf(gateway Key) iter.Seq[*VirtualService]
	// WorkloadsSelectedBy yields the workloads whose labels hold the selector, ordered by kind, namespace and name; for an
	// empty selector, those that are known to be gateways.
	WorkloadsSelectedBy(selector map[string]string) iter.Seq[*Workload]
	// Routers says whether any workload is known to be a gateway.
	Routers() bool
	// GatewaysSelecting yields the Gateways whose selector is held by the labels, those without a selector included, in no
	// particular order.
	GatewaysSelecting(labels map[string]string) iter.Seq[*Gateway]
	// GatewaysWithin yields the Gateways whose selector holds the given one, equal ones included, in no particular order.
	GatewaysWithin(selector map[string]string) iter.Seq[*Gateway]
	// ServicesSelecting yields the Services of the namespace whose selector is held by the labels, in no particular order.
	ServicesSelecting(namespace string, labels map[string]string) iter.Seq[*Service]
	// Services yields every Service, ordered by namespace and name.
	Services() iter.Seq[*Service]
	// Secret returns the Secret of that name, or false when none is known.
	Secret(Key) (*Secret, bool)
	// SecretsNamed yields the Secrets of that name in all namespaces, ordered by namespace.
	SecretsNamed(name string) iter.Seq[*Secret]
	// SecretsKnown says whether every Secret of the namespace is known that holds something for TLS, so that one which is not
	// is missing. EveryNamespace asks for all of them.
	SecretsKnown(namespace string) bool
	// CertificatesWriting yields the Certificates that write to Secrets of that name, ordered by namespace and name.
	CertificatesWriting(secret string) iter.Seq[*Certificate]
	// Now is the moment of judgement. It is zero where there is none, and then nothing is said that depends on it.
	Now() time.Time
	// Settings returns the mesh-wide settings.
	Settings() Settings
}
