package policy

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// on returns a server of the protocol, with port 443 and the hosts, for every namespace.
func on(protocol string, mode TLSMode, hosts ...HostName) Server {
	s := Server{Port: Port{Number: 443, Name: "port", Protocol: protocol}, TLS: mode}
	for _, h := range hosts {
		s.Hosts = append(s.Hosts, ServerHost{Namespace: EveryNamespace, Name: h})
	}
	return s
}

// bound returns the server with that bind, and called with that port name.
func (s Server) bound(bind string) Server  { s.Bind = bind; return s }
func (s Server) called(name string) Server { s.Port.Name = name; return s }
func (s Server) at(port uint32) Server     { s.Port.Number = port; return s }

func TestMerge(t *testing.T) {
	https, http, tcp, tls := on("HTTPS", TLSSimple, "a"), on("HTTP", NoTLS, "a"), on("TCP", NoTLS, "a"), on("TLS", TLSPassthrough, "a")
	httpsB, httpB := on("HTTPS", TLSSimple, "b"), on("HTTP", NoTLS, "b")
	noBlock := on("TLS", NoTLS, "b")
	host, port, name := hostTaken, portTaken, nameTaken
	type lost struct {
		kind          lossKind
		loser, winner string
		host          string
	}
	tests := []struct {
		reason string
		// gateways are the servers of each Gateway, the oldest first; the losses name them "gateway/server".
		gateways [][]Server
		want     []lost
	}{
		{"a server alone", [][]Server{{https}}, nil},
		{"one host twice", [][]Server{{https}, {https}}, []lost{{host, "1/0", "0/0", "a"}}},
		{"one host twice in one Gateway", [][]Server{{https, https.called("other")}}, []lost{{host, "0/1", "0/0", "a"}}},
		{"one host thrice", [][]Server{{https}, {https}, {https}}, []lost{{host, "1/0", "0/0", "a"}, {host, "2/0", "0/0", "a"}}},
		{"one of two hosts", [][]Server{{https}, {on("HTTPS", TLSSimple, "b", "a")}}, []lost{{host, "1/0", "0/0", "a"}}},
		{
			"a server that is dropped for a host takes none of its others",
			[][]Server{{https}, {on("HTTPS", TLSSimple, "b", "a")}, {httpsB}},
			[]lost{{host, "1/0", "0/0", "a"}},
		},
		{
			"a server that is dropped for its port takes its hosts all the same",
			[][]Server{{httpB}, {https}, {https}},
			[]lost{{port, "1/0", "0/0", ""}, {host, "2/0", "1/0", "a"}},
		},
		{"another host", [][]Server{{https}, {httpsB}}, nil},
		{"another port", [][]Server{{https}, {https.at(8443)}}, nil},
		{"another bind", [][]Server{{https.bound("1.1.1.1")}, {https.bound("1.1.1.2")}}, nil},
		{
			"of a host the bind of its last server counts",
			[][]Server{{https.bound("1.1.1.1")}, {https.bound("1.1.1.2")}, {https.bound("1.1.1.1")}},
			nil,
		},
		{"plain HTTP shares hosts and ports", [][]Server{{http}, {http}}, nil},
		{"a redirect beside plain HTTP", [][]Server{{on("HTTP", TLSPassthrough, "a")}, {http}}, nil},
		{"two redirects", [][]Server{{on("HTTP", TLSPassthrough, "a")}, {on("HTTP", TLSPassthrough, "a")}}, []lost{{host, "1/0", "0/0", "a"}}},
		{"TCP beside HTTP", [][]Server{{http}, {tcp}}, []lost{{port, "1/0", "0/0", ""}}},
		{"HTTP beside TCP", [][]Server{{tcp}, {http}}, []lost{{port, "1/0", "0/0", ""}}},
		{"TCP beside TCP", [][]Server{{tcp}, {tcp}}, []lost{{port, "1/0", "0/0", ""}}},
		{"TCP beside HTTP on another bind", [][]Server{{http.bound("1.1.1.1")}, {tcp.bound("1.1.1.2")}}, nil},
		{"HTTP on two binds, and on the first again", [][]Server{{http.bound("1.1.1.1")}, {http.bound("1.1.1.2")}, {httpB.bound("1.1.1.1")}}, nil},
		{"TLS after HTTP", [][]Server{{http}, {tls}}, []lost{{port, "1/0", "0/0", ""}}},
		{"HTTP after TLS", [][]Server{{tls}, {http}}, nil},
		{"TLS after HTTP after TLS", [][]Server{{tls}, {http}, {httpsB}}, []lost{{port, "2/0", "1/0", ""}}},
		{"what is plain takes the place of TLS of its protocol", [][]Server{{tls}, {noBlock}}, []lost{{port, "0/0", "1/0", ""}}},
		{"TLS beside HTTPS", [][]Server{{tls}, {httpsB}}, nil},
		{"one port name in one Gateway", [][]Server{{https, httpsB}}, []lost{{name, "0/1", "0/0", ""}}},
		{"one port name in two Gateways", [][]Server{{https}, {httpsB}}, nil},
		{"two port names in one Gateway", [][]Server{{https, httpsB.called("other")}}, nil},
		{"one port name, passed through", [][]Server{{https, on("HTTPS", TLSPassthrough, "b")}}, nil},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			var gateways []*Gateway
			for i, servers := range tc.gateways {
				gateways = append(gateways, NewGateway(Gateway{Key: Key{"edge", fmt.Sprint(i)}, Servers: servers}))
			}
			merged := mergeAll(gateways, func(n uint32) (uint32, bool) { return n, true })
			var got []lost
			dropped := map[member]bool{}
			text := func(m member) string { return fmt.Sprintf("%s/%d", m.gateway.Name, m.position) }
			for _, l := range merged.losses {
				got = append(got, lost{l.kind, text(l.loser), text(l.winner), l.host})
				dropped[l.loser] = true
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(lost{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("losses (-want +got):\n%s", diff)
			}
			for _, g := range gateways {
				for i := range g.Servers {
					if m := (member{g, i}); merged.served(m, g.Servers[i].Port.Number) == dropped[m] {
						t.Errorf("%s is served: %t, and lost: %t", text(m), !dropped[m], dropped[m])
					}
				}
			}
		})
	}
}

// TestPrecedence tells in words who wins, in the order in which compareAge has Gateways.
func TestPrecedence(t *testing.T) {
	gateway := func(namespace, name string, created int64) *Gateway {
		return &Gateway{Key: Key{namespace, name}, Created: created}
	}
	g := gateway("edge", "b", 10)
	tests := []struct {
		reason        string
		winner, loser member
		want          string
	}{
		{"the older one", member{gateway("edge", "c", 9), 0}, member{g, 0}, ", which is older"},
		{"of one age the first by name", member{gateway("shop", "a", 10), 0}, member{g, 0}, ", which was created in the same second and comes first by name"},
		{"of one age and name the first by namespace", member{g, 0}, member{gateway("shop", "b", 10), 0}, ", which was created in the same second and comes first by namespace"},
		{"the first server of a Gateway", member{g, 0}, member{g, 1}, ", which comes first"},
		{"a later server of a Gateway", member{g, 1}, member{g, 0}, ", which takes its place"},
		{"the younger one", member{g, 0}, member{gateway("edge", "c", 9), 0}, ", which takes its place"},
		{"of one age the last by name", member{g, 0}, member{gateway("edge", "a", 10), 0}, ", which takes its place"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if got := (lostServer{loss: loss{winner: tc.winner, loser: tc.loser}}).precedence(); got != tc.want {
				t.Errorf("precedence: %q, want %q", got, tc.want)
			}
			a, b := tc.winner.gateway, tc.loser.gateway
			if order := compareAge(a, b); a != b && (order < 0) == (tc.want == ", which takes its place") {
				t.Errorf("compareAge: %d", order)
			}
		})
	}
}

func TestDescribe(t *testing.T) {
	tests := []struct {
		reason string
		server Server
		want   string
	}{
		{"plain HTTP", on("HTTP", NoTLS), "spec.servers[2] (port 443, HTTP)"},
		{"a redirect", on("HTTP", TLSPassthrough), "spec.servers[2] (port 443, HTTP, with a tls block)"},
		{"HTTPS", on("HTTPS", TLSSimple), "spec.servers[2] (port 443, HTTPS, SIMPLE)"},
		{"HTTPS without a tls block", on("HTTPS", NoTLS), "spec.servers[2] (port 443, HTTPS, no tls block)"},
		{"TLS without a tls block, in lower case", on("tls", NoTLS), "spec.servers[2] (port 443, tls, no tls block)"},
		{"TCP on one address", on("TCP", NoTLS).bound("10.0.0.1"), "spec.servers[2] (port 443, TCP, bind 10.0.0.1)"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if got := tc.server.describe(2); got != tc.want {
				t.Errorf("describe: %q, want %q", got, tc.want)
			}
		})
	}
}
