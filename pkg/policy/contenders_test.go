package policy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// TestContenders puts a Gateway beside random others and takes it away: whoever has other losses then must be among its
// contenders.
func TestContenders(t *testing.T) {
	const seeds = 4000
	affected, spared := 0, 0
	for seed := range uint64(seeds) {
		random := rand.New(rand.NewPCG(seed, 3))
		model, err := mesh.New()
		if err != nil {
			t.Fatal(err)
		}
		if err := model.Put(randomSurroundings(random)...); err != nil {
			t.Fatal(err)
		}
		g, _ := model.World().Gateway(policy.Key{Namespace: "edge", Name: "g0"})
		contenders := map[policy.Key]bool{}
		with, without := model.World(), model.World()
		without.Remove(g.Ref())
		for _, c := range policy.Contenders(with, g) {
			contenders[c.Key] = true
		}
		for _, ref := range without.Refs(policy.KindGateway) {
			if diff := cmp.Diff(ownLosses(without, ref.Key), ownLosses(with, ref.Key)); diff != "" {
				affected++
				if !contenders[ref.Key] {
					t.Errorf("seed %d: %s is no contender of %+v, and loses something else beside it (-without +with):\n%s", seed, ref, g, diff)
				}
			} else if !contenders[ref.Key] {
				spared++
			}
		}
	}
	if affected < seeds/10 || spared < seeds/10 {
		t.Errorf("%d Gateways were affected, %d were rightly spared: the test is too easy", affected, spared)
	}
}

// ownLosses returns the findings on conflicts of the stored Gateway, by their identity.
func ownLosses(w *mesh.World, key policy.Key) []string {
	g, _ := w.Gateway(key)
	var losses []string
	for _, f := range policy.Evaluate(w, policy.Object{Gateway: g, Standing: true}, policy.Rules()) {
		if slices.Contains([]string{"MW201", "MW202", "MW203"}, f.Rule) {
			losses = append(losses, f.Identity())
		}
	}
	slices.Sort(losses)
	return losses
}

// randomSurroundings returns a few Gateways, most of which share a workload, at times with a Service that leads one port to
// another.
func randomSurroundings(random *rand.Rand) []policy.Resource {
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	selector := func() map[string]string {
		return map[string]string{pick("istio", "istio", "app"): "gw"}
	}
	var objects []policy.Resource
	for n := range 2 + random.IntN(4) {
		g := policy.Gateway{
			Key: policy.Key{Namespace: pick("edge", "shop"), Name: fmt.Sprintf("g%d", n)}, Created: int64(random.IntN(3)), Selector: selector(),
		}
		if n == 0 {
			g.Namespace = "edge"
		}
		for i := range 1 + random.IntN(2) {
			g.Servers = append(g.Servers, randomServer(random, pick, i))
		}
		objects = append(objects, policy.NewGateway(g))
	}
	for n := range random.IntN(3) {
		objects = append(objects, &policy.Workload{
			Reference: policy.Ref{Kind: policy.KindDeployment, Key: policy.Key{Namespace: "edge", Name: fmt.Sprintf("w%d", n)}},
			Labels:    map[string]string{"istio": "gw", "app": pick("gw", "web")}, Router: true,
		})
	}
	if random.IntN(3) == 0 {
		objects = append(objects, &policy.Service{
			Key: policy.Key{Namespace: "edge", Name: "lb"}, Selector: map[string]string{"istio": "gw"},
			Ports: []policy.ServicePort{{Number: 80, Protocol: "TCP", Target: []uint32{8080, 443}[random.IntN(2)]}},
		})
	}
	return objects
}

func randomServer(random *rand.Rand, pick func(...string) string, n int) policy.Server {
	s := policy.Server{Port: policy.Port{Number: 80, Name: fmt.Sprintf("p%d", n), Protocol: "HTTP"}, Bind: pick("", "", "", "", "0.0.0.0")}
	switch random.IntN(6) {
	case 0:
		s.TLS = policy.TLSSimple // it redirects
	case 1, 2, 3:
		s.Port.Number, s.Port.Protocol, s.TLS = 443, "HTTPS", policy.TLSSimple
	case 4:
		s.Port.Number, s.Port.Protocol = uint32([]int{80, 443, 9000}[random.IntN(3)]), "TCP"
	}
	for range 1 + random.IntN(2) {
		s.Hosts = append(s.Hosts, policy.ServerHost{
			Namespace: pick("*", "*", "*", "shop"), Name: policy.HostName(pick("a.com", "b.com", "c.com", "d.com", "e.com", "f.com", "*.com", "*")),
		})
	}
	return s
}
