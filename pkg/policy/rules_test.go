package policy_test

import (
	"os"
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
		name     = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)+$`)
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

// TestMessages holds the wording of each rule, because people and their scripts read it: a change is to be seen.
func TestMessages(t *testing.T) {
	tests := []struct {
		reason, fixture string
		want            []string
	}{
		{"a missing gateway", "MW101/fail_name.yaml", []string{
			`deny MW101 gateway-not-found: gateway "public" does not exist: there is no Gateway shop/public, but there is edge/public. ` +
				`Create the Gateway first, or correct its name; one of another namespace is written namespace/name.`,
		}},
		{"a name with a dot", "MW101/fail_dotted_gateway_name.yaml", []string{
			`deny MW101 gateway-not-found: gateway "public.v2" does not exist: there is no Gateway v2/public; Istio reads a name with a dot ` +
				`as name.namespace, and a Gateway with a dot in its name has to be written with its namespace: there is shop/public.v2. ` +
				`Create the Gateway first, or correct its name; one of another namespace is written namespace/name.`,
		}},
		{"the reserved name in another case", "MW101/fail_mesh_letter_case.yaml", []string{
			`deny MW101 gateway-not-found: gateway "Mesh" does not exist: there is no Gateway shop/Mesh; the reserved name is mesh, in lower case. ` +
				`Create the Gateway first, or correct its name; one of another namespace is written namespace/name.`,
		}},
		{"a missing gateway without namesake", "MW101/fail_mesh_and_gateway.yaml", []string{
			`deny MW101 gateway-not-found: gateway "public" does not exist: there is no Gateway shop/public. ` +
				`Create the Gateway first, or correct its name; one of another namespace is written namespace/name.`,
		}},
		{"a host of which nothing is near", "MW102/fail_host.yaml", []string{
			`deny MW102 host-not-served: host "shop.example.com" is carried by no server of gateway edge/public; ` +
				`it carries api.example.com. Add the host to a server of the gateway, or name a gateway that carries it.`,
		}},
		{"the namespace part is at fault", "MW102/fail_dot_slash.yaml", []string{
			`deny MW102 host-not-served: host "shop.example.com" is carried by no server of gateway edge/public; ` +
				`it carries shop.example.com for namespace edge only. ` +
				`Add the host to a server of the gateway, or name a gateway that carries it.`,
		}},
		{"letter case is at fault", "MW102/fail_letter_case_gateway.yaml", []string{
			`deny MW102 host-not-served: host "shop.example.com" is carried by no server of gateway edge/public; ` +
				`it carries Shop.example.com, and Istio tells upper from lower case. ` +
				`Add the host to a server of the gateway, or name a gateway that carries it.`,
		}},
		{"a short name is at fault", "MW102/fail_short_name.yaml", []string{
			`deny MW102 host-not-served: host "web" is carried by no server of gateway edge/public ` +
				`(the short name stands for web.shop.svc.cluster.local); it carries web. ` +
				`Add the host to a server of the gateway, or name a gateway that carries it.`,
		}},
		{"several gateways", "MW102/fail_several_gateways.yaml", []string{
			`deny MW102 host-not-served: host "a.example.com" is carried by no server of the gateways edge/internal, edge/public; ` +
				`edge/internal carries shop.example.com; edge/public carries shop.example.com. ` +
				`Add the host to a server of the gateway, or name a gateway that carries it.`,
		}},
		{"a Gateway without servers", "MW102/fail_no_servers.yaml", []string{
			`deny MW102 host-not-served: host "shop.example.com" is carried by no server of gateway edge/public; ` +
				`it carries no host. Add the host to a server of the gateway, or name a gateway that carries it.`,
		}},
		{"a useless gateway", "MW105/fail_other_serves.yaml", []string{
			`deny MW105 gateway-serves-nothing: gateway edge/internal serves none of the hosts shop.example.com: it carries a.example.com. ` +
				`Remove the gateway from spec.gateways, or add one of the hosts to one of its servers.`,
		}},
		{"a match for a gateway and for the mesh", "MW106/fail_every_entry.yaml", []string{
			`deny MW106 match-gateway-not-listed: the match names gateway "edge/internal", which spec.gateways does not: ` +
				`the VirtualService is not bound to it, so the entry has no effect. Add the gateway to spec.gateways, or take it out of the match.`,
			`deny MW106 match-gateway-not-listed: the match names gateway "mesh", which spec.gateways does not: ` +
				`the VirtualService is not bound to it, so the entry has no effect. Add the gateway to spec.gateways, or take it out of the match.`,
		}},
		{"an update orphans a host", "MW207/fail_host_removed.yaml", []string{
			`deny MW207 hosts-orphaned: VirtualService shop/web uses host "shop.example.com", which no gateway that it names ` +
				`would carry any more. Move the VirtualService to another gateway or remove the host from it first, then change the Gateway.`,
		}},
		{"a deletion orphans a host", "MW207/fail_delete.yaml", []string{
			`warn MW207 hosts-orphaned: VirtualService shop/web uses host "shop.example.com", which no gateway that it names ` +
				`would carry any more. Move the VirtualService to another gateway or remove the host from it first, then change the Gateway.`,
		}},
	}
	worded := map[string]bool{}
	for _, tc := range tests {
		worded[tc.fixture[:len("MW102")]] = true
		t.Run(tc.reason, func(t *testing.T) {
			text, err := os.ReadFile(fixturesFolder + "/" + tc.fixture)
			if err != nil {
				t.Fatal(err)
			}
			f, err := fixture.Parse(tc.fixture, string(text))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, found := range findingsOf(t, changeOf(t, f)) {
				got = append(got, string(found.Action)+" "+found.Text())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("texts (-want +got):\n%s", diff)
			}
		})
	}
	for _, r := range policy.Rules() {
		if !worded[r.ID] {
			t.Errorf("no case holds the wording of %s %s", r.ID, r.Name)
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
		{"a match depends on its object alone", "MW106/fail_http.yaml", nil},
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
	serving := policy.NewGateway(policy.Key{Namespace: "edge", Name: "public"},
		[]policy.Server{{Hosts: []policy.ServerHost{{Namespace: policy.EveryNamespace, Name: "a.example.com"}}}})
	other := policy.Server{}
	for _, h := range hosts("b", 8) {
		other.Hosts = append(other.Hosts, policy.ServerHost{Namespace: policy.EveryNamespace, Name: policy.HostName(h)})
	}
	useless := policy.NewGateway(policy.Key{Namespace: "edge", Name: "internal"}, []policy.Server{other})
	v := &policy.VirtualService{Key: policy.Key{Namespace: "shop", Name: "web"}, Gateways: []policy.GatewayRef{
		{Written: "edge/public", Gateway: serving.Key}, {Written: "edge/internal", Gateway: useless.Key},
	}}
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
		g := policy.NewGateway(policy.Key{Namespace: "edge", Name: "g" + string(rune('0'+i))}, nil)
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
