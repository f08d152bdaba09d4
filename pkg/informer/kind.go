package informer

import (
	"fmt"
	"net/http"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// kind is what an informer must know about its objects' API.
type kind struct {
	kind     policy.Kind
	resource string
	// namespace is the one that is followed; empty means all of them.
	namespace string
}

// kinds returns the kinds in the order in which readiness looks at them: what the settings come from stands first, so that
// whoever finds all of them settled finds the others translated as the settings say.
func kinds(istioNamespace string) []kind {
	return []kind{
		{kind: istio.KindConfigMap, resource: "configmaps", namespace: istioNamespace},
		{kind: policy.KindDeployment, resource: "deployments"},
		{kind: policy.KindDaemonSet, resource: "daemonsets"},
		{kind: policy.KindStatefulSet, resource: "statefulsets"},
		{kind: policy.KindService, resource: "services"},
		{kind: policy.KindGateway, resource: "gateways"},
		{kind: policy.KindVirtualService, resource: "virtualservices"},
	}
}

// clients makes the clients of the kinds' groups, which decode into this project's own lean types and share their
// connections.
type clients struct {
	config *rest.Config
	http   *http.Client
	codecs serializer.CodecFactory
}

func newClients(config *rest.Config) (*clients, error) {
	scheme := runtime.NewScheme()
	if err := istio.AddToScheme(scheme); err != nil {
		return nil, err
	}
	connections, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("cannot set up connections to the API server: %w", err)
	}
	return &clients{config: config, http: connections, codecs: serializer.NewCodecFactory(scheme)}, nil
}

// of returns the client for the objects of a kind.
func (c *clients) of(kind policy.Kind) (rest.Interface, error) {
	version, ok := istio.GroupVersionOf(kind)
	if !ok {
		return nil, fmt.Errorf("objects of kind %s are not read", kind)
	}
	config := rest.CopyConfig(c.config)
	config.GroupVersion = &version
	config.APIPath = "/apis"
	if version.Group == "" {
		config.APIPath = "/api"
	}
	config.NegotiatedSerializer = c.codecs.WithoutConversion()
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	client, err := rest.RESTClientForConfigAndClient(config, c.http)
	if err != nil {
		return nil, fmt.Errorf("cannot make a client for %s: %w", version, err)
	}
	return client, nil
}

// empty returns an empty object of the kind, which is one that clients.of knows.
func (k kind) empty() istio.Object {
	o, _ := istio.NewObject(k.kind)
	return o
}

func (k kind) emptyList() runtime.Object {
	list, _ := istio.NewList(k.kind)
	return list
}
