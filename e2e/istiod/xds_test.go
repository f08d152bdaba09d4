package istiod

import (
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

func TestRouteNames(t *testing.T) {
	chain := func(config proto.Message) *listenerv3.FilterChain {
		return &listenerv3.FilterChain{Filters: []*listenerv3.Filter{{ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed(t, config)}}}}
	}
	routed := func(name string) proto.Message {
		return &hcmv3.HttpConnectionManager{RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{RouteConfigName: name}}}
	}
	tests := []struct {
		reason   string
		listener *listenerv3.Listener
		want     []string
	}{
		{"a listener without filters", &listenerv3.Listener{}, nil},
		{"one for TCP", &listenerv3.Listener{FilterChains: []*listenerv3.FilterChain{chain(&tcpv3.TcpProxy{})}}, nil},
		{"one with routes of its own", &listenerv3.Listener{FilterChains: []*listenerv3.FilterChain{chain(&hcmv3.HttpConnectionManager{})}}, nil},
		{
			"one for each of several hosts, and one for the rest",
			&listenerv3.Listener{FilterChains: []*listenerv3.FilterChain{chain(routed("a")), chain(routed("b"))}, DefaultFilterChain: chain(routed("c"))},
			[]string{"a", "b", "c"},
		},
	}
	for _, tc := range tests {
		got, err := routeNames(packed(t, tc.listener))
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("%s: error %v, names (-want +got):\n%s", tc.reason, err, diff)
		}
	}
}

func packed(t *testing.T, message proto.Message) *anypb.Any {
	t.Helper()
	packed, err := anypb.New(message)
	if err != nil {
		t.Fatal(err)
	}
	return packed
}
