package policy_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/internal/fixture"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

func TestRules(t *testing.T) {
	var (
		id       = regexp.MustCompile(`^MW\d{3}$`)
		name     = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
		sentence = regexp.MustCompile(`^[A-Z].*\.$`)
		names    = map[string]bool{}
		previous = policy.UnparsableID
	)
	for _, r := range policy.Rules() {
		if !id.MatchString(r.ID) || r.ID <= previous {
			t.Errorf("rule %q after %q: IDs are MW and three digits, each once and in order", r.ID, previous)
		}
		previous = r.ID
		if !name.MatchString(r.Name) || names[r.Name] {
			t.Errorf("%s is called %q: a name is words with hyphens between them, and no other rule's", r.ID, r.Name)
		}
		names[r.Name] = true
		if !sentence.MatchString(r.Title) || !sentence.MatchString(r.Remedy) {
			t.Errorf("%s: title %q and remedy %q must be sentences with a full stop", r.ID, r.Title, r.Remedy)
		}
		if _, err := policy.ParseAction(string(r.Action)); err != nil {
			t.Errorf("%s: %v", r.ID, err)
		}
		if len(r.Kinds) == 0 || r.Check == nil {
			t.Errorf("%s judges nothing", r.ID)
		}
	}
}

// TestRelated holds what a denial names as its grounds: the objects that are read again before anything is refused.
func TestRelated(t *testing.T) {
	tests := []struct {
		reason, fixture string
		want            []string
	}{
		{"the Gateway that is missing", "MW101/fail_several.yaml", []string{"Gateway shop/missing", "Gateway edge/public"}},
		{"the Gateways that carry nothing", "MW102/fail_several_gateways.yaml", []string{"Gateway edge/internal", "Gateway edge/public"}},
		{"a Gateway in two forms once", "MW102/fail_named_twice.yaml", []string{"Gateway edge/public"}},
		{"the useless Gateway", "MW105/fail_named_twice_serving.yaml", []string{"Gateway shop/public"}},
		{"every gateway that is named", "MW103/fail_furthest.yaml", []string{"Gateway edge/internal", "Gateway edge/public"}},
		{"the workload that does not see it", "MW104/fail_own_namespace.yaml", []string{"Gateway edge/public", "Deployment istio-system/gateway"}},
		{
			"each workload that does not see it", "MW104/fail_several_workloads.yaml",
			[]string{"Gateway edge/public", "Deployment edge/gateway", "Deployment istio-system/gateway"},
		},
		{"a workload that is assumed is none", "MW104/fail_no_workload.yaml", []string{"Gateway edge/public"}},
		{"the useless Gateway and its workload", "MW105/fail_not_exported.yaml", []string{"Gateway edge/internal", "Deployment istio-system/internal"}},
		{"a match depends on its object alone", "MW106/fail_http.yaml", nil},
		{"the Gateway that permits less", "MW107/fail_second_gateway.yaml", []string{"Gateway edge/internal"}},
		{"the Gateway to which no route leads", "MW114/fail_match_port.yaml", []string{"Gateway edge/public"}},
		{"the Gateway that wins", "MW201/fail_same_host.yaml", []string{"Gateway edge/first"}},
		{
			"the Gateway that wins, and where", "MW201/fail_target.yaml",
			[]string{"Gateway edge/first", "Deployment istio-system/gateway", "Service istio-system/gateway"},
		},
		{"the Gateway that loses", "MW201/fail_update_of_older.yaml", []string{"Gateway edge/second"}},
		{"a Gateway that loses to itself", "MW202/fail_own_servers.yaml", nil},
		{"a list of hosts", "MW204/fail_generator_dot_slash.yaml", nil},
		{"workloads that are not there", "MW205/fail_other_value.yaml", nil},
		{"workloads that are not reached", "MW206/fail_every_workload.yaml", []string{"Deployment edge/gateway-b", "Deployment istio-system/gateway-a"}},
		{
			"the VirtualService and the other Gateway", "MW207/fail_other_gateway.yaml",
			[]string{"VirtualService shop/web", "Gateway edge/internal"},
		},
		{
			"a Gateway that does not exist may yet", "MW207/fail_other_gateway_missing.yaml",
			[]string{"VirtualService shop/web", "Gateway edge/missing"},
		},
		{
			"another Gateway in two forms once", "MW207/fail_other_gateway_twice.yaml",
			[]string{"VirtualService shop/web", "Gateway edge/missing"},
		},
		{
			"a Secret that is not there, and a Certificate that may write it by now", "MW209/fail_missing.yaml",
			[]string{"Secret istio-system/web-tls", "Certificate istio-system/web-tls", "Deployment istio-system/gateway"},
		},
		{
			"no Secret where none is read", "MW209/fail_elsewhere.yaml",
			[]string{"Certificate istio-system/web-tls", "Certificate edge/web", "Deployment istio-system/gateway"},
		},
		{"a Certificate and where the workload runs", "MW209/fail_names.yaml", []string{"Certificate istio-system/web", "Deployment istio-system/gateway"}},
		{
			"a Secret for the CA alone that may be there", "MW209/fail_mutual_without_ca.yaml",
			[]string{"Secret istio-system/web-tls", "Secret istio-system/web-tls-cacert", "Deployment istio-system/gateway"},
		},
		{"the changed Gateway in two forms is not among the others", "MW207/fail_named_twice.yaml", []string{"VirtualService shop/web"}},
	}
	fixtures := loadFixtures(t)
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			i := slices.IndexFunc(fixtures, func(f fixture.Fixture) bool { return f.Path == tc.fixture })
			if i < 0 {
				t.Fatalf("no fixture %s", tc.fixture)
			}
			var got []string
			for _, found := range findingsOf(t, changeOf(t, fixtures[i])) {
				for _, r := range found.Related {
					got = append(got, r.String())
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("related objects (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLongLists keeps messages readable when an object is large: lists end with how much is left out.
func TestLongLists(t *testing.T) {
	hosts := func(prefix string, n int) []string {
		var names []string
		for i := range n {
			names = append(names, prefix+strings.Repeat("x", i)+".example.com")
		}
		return names
	}
	http := policy.Port{Number: 80, Name: "http", Protocol: "HTTP"}
	serving := policy.NewGateway(policy.Gateway{Key: policy.Key{Namespace: "edge", Name: "public"}, Servers: []policy.Server{
		{Port: http, Hosts: []policy.ServerHost{{Namespace: policy.EveryNamespace, Name: "a.example.com"}}},
	}})
	other := policy.Server{Port: http}
	for _, h := range hosts("b", 8) {
		other.Hosts = append(other.Hosts, policy.ServerHost{Namespace: policy.EveryNamespace, Name: policy.HostName(h)})
	}
	useless := policy.NewGateway(policy.Gateway{Key: policy.Key{Namespace: "edge", Name: "internal"}, Servers: []policy.Server{other}})
	v := &policy.VirtualService{
		Key:      policy.Key{Namespace: "shop", Name: "web"},
		Gateways: []policy.GatewayRef{{Written: "edge/public", Gateway: serving.Key}, {Written: "edge/internal", Gateway: useless.Key}},
		Kinds:    policy.RouteKinds{HTTP: true}, Matches: []policy.Match{{Kind: policy.HTTPRoute, Entry: -1}},
	}
	for _, h := range hosts("a", 7) {
		v.Hosts = append(v.Hosts, policy.Host{Written: h, Name: policy.HostName(h)})
	}
	c := fixture.Change{Stored: []policy.Resource{serving, useless}, Object: policy.Object{VirtualService: v}}
	found := findingsOf(t, c)
	const want = "gateway edge/internal serves none of the hosts a.example.com, ax.example.com, axx.example.com, axxx.example.com, " +
		"axxxx.example.com and 2 more: it carries b.example.com, bx.example.com, bxx.example.com, bxxx.example.com, bxxxx.example.com and 3 more"
	if got := found[len(found)-1].Message; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
}

// TestManyGateways names a few of the gateways that carry nothing, in the sentence and in what they carry instead.
func TestManyGateways(t *testing.T) {
	v := &policy.VirtualService{Key: policy.Key{Namespace: "shop", Name: "web"}, Hosts: []policy.Host{{Written: "a", Name: "a"}}}
	c := fixture.Change{Object: policy.Object{VirtualService: v}}
	for i := range 7 {
		g := policy.NewGateway(policy.Gateway{Key: policy.Key{Namespace: "edge", Name: "g" + string(rune('0'+i))}})
		v.Gateways = append(v.Gateways, policy.GatewayRef{Written: g.String(), Gateway: g.Key})
		c.Stored = append(c.Stored, g)
	}
	const want = `host "a" is carried by no server of the gateways edge/g0, edge/g1, edge/g2, edge/g3, edge/g4 and 2 more; ` +
		"edge/g0 carries no host; edge/g1 carries no host; edge/g2 carries no host; edge/g3 carries no host; edge/g4 carries no host"
	found := findingsOf(t, c)
	if len(found) != 1 || found[0].Message != want || len(found[0].Related) != 7 {
		t.Errorf("findings %+v, want one with the message %q and 7 related objects", found, want)
	}
}
