package istiod

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Port is where istiod's Service takes proxies that have a token.
const Port = 15012

// Types of what a proxy asks for.
const (
	listenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"
	routeType    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
)

// Proxy asks istiod what the proxy of a gateway's pod asks, as the ServiceAccount of that pod.
type Proxy struct {
	// Client makes a token for the pod, and reads the CA that istiod publishes in the pod's namespace.
	Client client.Client
	// Address is the host:port of istiod's Port.
	Address string
	// Istiod is the name of istiod's Service, and its namespace.
	Istiod client.ObjectKey
	Pod    *corev1.Pod
}

// Routes returns the routes that istiod serves to the pod now, of all its listeners for HTTP.
func (p Proxy) Routes(ctx context.Context) ([]*routev3.RouteConfiguration, error) {
	routes, err := p.routes(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask istiod for the routes of pod %s: %w", p.Pod.Name, err)
	}
	return routes, nil
}

func (p Proxy) routes(ctx context.Context) ([]*routev3.RouteConfiguration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // which ends the stream
	token, err := p.token(ctx)
	if err != nil {
		return nil, err
	}
	tlsConfig, err := p.tlsConfig(ctx)
	if err != nil {
		return nil, err
	}
	connection, err := grpc.NewClient(p.Address, grpc.WithTransportCredentials(credentials.NewTLS(tlsConfig)))
	if err != nil {
		return nil, err
	}
	defer connection.Close() // nothing is lost with it
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(connection).StreamAggregatedResources(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	listeners, err := p.ask(stream, listenerType, nil)
	if err != nil {
		return nil, err
	}
	for _, l := range listeners {
		found, err := routeNames(l)
		if err != nil {
			return nil, err
		}
		names = append(names, found...)
	}
	if len(names) == 0 {
		return nil, nil
	}
	slices.Sort(names)
	answers, err := p.ask(stream, routeType, slices.Compact(names))
	if err != nil {
		return nil, err
	}
	var routes []*routev3.RouteConfiguration
	for _, a := range answers {
		r := &routev3.RouteConfiguration{}
		if err := a.UnmarshalTo(r); err != nil {
			return nil, err
		}
		routes = append(routes, r)
	}
	return routes, nil
}

type stream interface {
	Send(*discoveryv3.DiscoveryRequest) error
	Recv() (*discoveryv3.DiscoveryResponse, error)
}

// ask returns what istiod answers first, of the type. It pushes changes of other types meanwhile.
func (p Proxy) ask(s stream, kind string, names []string) ([]*anypb.Any, error) {
	node, err := p.node()
	if err != nil {
		return nil, err
	}
	if err := s.Send(&discoveryv3.DiscoveryRequest{Node: node, TypeUrl: kind, ResourceNames: names}); err != nil {
		return nil, err
	}
	for {
		response, err := s.Recv()
		if err != nil {
			return nil, err
		}
		if response.TypeUrl == kind {
			return response.Resources, nil
		}
	}
}

// node is what the proxy says of itself.
func (p Proxy) node() (*corev3.Node, error) {
	labels := map[string]any{}
	for key, value := range p.Pod.Labels {
		labels[key] = value
	}
	fields, err := structpb.NewStruct(map[string]any{
		"NAMESPACE": p.Pod.Namespace, "LABELS": labels, "SERVICE_ACCOUNT": p.Pod.Spec.ServiceAccountName, "CLUSTER_ID": "Kubernetes",
	})
	return &corev3.Node{
		Id:       fmt.Sprintf("router~%s~%s.%s~%s.svc.cluster.local", p.Pod.Status.PodIP, p.Pod.Name, p.Pod.Namespace, p.Pod.Namespace),
		Metadata: fields,
	}, err
}

// token returns a token as the pod has one in a volume, for istiod alone.
func (p Proxy) token(ctx context.Context) (string, error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: p.Pod.Namespace, Name: p.Pod.Spec.ServiceAccountName}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences:      []string{"istio-ca"},
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: p.Pod.Name, UID: p.Pod.UID},
	}}
	if err := p.Client.SubResource("token").Create(ctx, account, request); err != nil {
		return "", fmt.Errorf("request a token of ServiceAccount %s: %w", account.Name, err)
	}
	return request.Status.Token, nil
}

func (p Proxy) tlsConfig(ctx context.Context) (*tls.Config, error) {
	published := &corev1.ConfigMap{}
	if err := p.Client.Get(ctx, client.ObjectKey{Namespace: p.Pod.Namespace, Name: "istio-ca-root-cert"}, published); err != nil {
		return nil, fmt.Errorf("read istiod's CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(published.Data["root-cert.pem"])) {
		return nil, errors.New("read istiod's CA: there is no certificate")
	}
	return &tls.Config{RootCAs: roots, ServerName: p.Istiod.Name + "." + p.Istiod.Namespace + ".svc", MinVersion: tls.VersionTLS12}, nil
}

// routeNames returns the names of the routes that a listener asks for.
func routeNames(answer *anypb.Any) ([]string, error) {
	listener := &listenerv3.Listener{}
	if err := answer.UnmarshalTo(listener); err != nil {
		return nil, err
	}
	var names []string
	for _, chain := range append(listener.FilterChains, listener.DefaultFilterChain) {
		for _, filter := range chain.GetFilters() {
			manager := &hcmv3.HttpConnectionManager{}
			if !filter.GetTypedConfig().MessageIs(proto.Message(manager)) {
				continue
			}
			if err := filter.GetTypedConfig().UnmarshalTo(manager); err != nil {
				return nil, err
			}
			if name := manager.GetRds().GetRouteConfigName(); name != "" {
				names = append(names, name)
			}
		}
	}
	return names, nil
}
