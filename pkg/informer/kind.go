package informer

import (
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
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
	// enough is the name of the object that will do where the others may not be read; empty means that all are needed.
	enough string
	// among is a field selector for the objects that count; empty means that all do.
	among string
}

// kinds returns the kinds in the order in which readiness looks at them: what the settings come from stands first, so that
// whoever finds all of them settled finds the others translated as the settings say. Secrets are read only where that is asked
// for.
func kinds(istioNamespace string, secrets bool) []kind {
	followed := []kind{
		{kind: istio.KindConfigMap, resource: "configmaps", namespace: istioNamespace, enough: meshConfigMap},
		{kind: policy.KindDeployment, resource: "deployments"},
		{kind: policy.KindDaemonSet, resource: "daemonsets"},
		{kind: policy.KindStatefulSet, resource: "statefulsets"},
		{kind: policy.KindService, resource: "services"},
		{kind: policy.KindGateway, resource: "gateways"},
		{kind: policy.KindCertificate, resource: "certificates"},
	}
	if secrets {
		followed = append(followed, kind{kind: policy.KindSecret, resource: "secrets", among: certificateTypes()})
	}
	return append(followed, kind{kind: policy.KindVirtualService, resource: "virtualservices"})
}

// certificateTypes selects the Secrets that may hold certificates. Istio reads them of any type, so those are left out that
// Kubernetes and Helm keep something else in.
func certificateTypes() string {
	var others []fields.Selector
	for _, t := range []corev1.SecretType{
		corev1.SecretTypeServiceAccountToken, corev1.SecretTypeDockercfg, corev1.SecretTypeDockerConfigJson, corev1.SecretTypeBasicAuth,
		corev1.SecretTypeSSHAuth, corev1.SecretTypeBootstrapToken, "helm.sh/release.v1",
	} {
		others = append(others, fields.OneTermNotEqualSelector("type", string(t)))
	}
	return fields.AndSelectors(others...).String()
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
