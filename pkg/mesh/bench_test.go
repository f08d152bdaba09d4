package mesh_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// gatewaysInBench is over how many Gateways the VirtualServices are spread.
const gatewaysInBench = 1000

// translated returns the object's value for the rules. Each comes from a text of its own, as from an API server, so that
// no two share a string.
func translated(b *testing.B, kind policy.Kind, namespace, name, spec string) policy.Resource {
	b.Helper()
	var o istio.Object = &istio.Gateway{Spec: json.RawMessage(spec)}
	if kind == policy.KindVirtualService {
		o = &istio.VirtualService{Spec: json.RawMessage(spec)}
	}
	o.SetNamespace(namespace)
	o.SetName(name)
	o.SetLabels(map[string]string{"app": name})
	o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "bench"}})
	r, err := istio.Translator{ClusterDomain: "cluster.local"}.Translate(o)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

func benchGateway(b *testing.B, n int) policy.Resource {
	spec := fmt.Sprintf(`{"selector":{"istio":"ingress"},"servers":[
		{"port":{"number":80,"name":"http","protocol":"HTTP"},"hosts":["*/*.g%[1]d.example.com","./internal.example.com"]},
		{"port":{"number":443,"name":"https","protocol":"HTTPS"},"tls":{"mode":"SIMPLE","credentialName":"c"},"hosts":["*/*.g%[1]d.example.com"]}]}`, n)
	return translated(b, policy.KindGateway, "edge", fmt.Sprintf("gateway-%d", n), spec)
}

func benchVirtualService(b *testing.B, n int) *policy.VirtualService {
	g := n % gatewaysInBench
	spec := fmt.Sprintf(`{"hosts":["app-%d.g%d.example.com"],"gateways":["edge/gateway-%d"],
		"http":[{"match":[{"uri":{"prefix":"/v2"},"gateways":["edge/gateway-%[3]d"]}],"route":[{"destination":{"host":"app"}}]}]}`, n, g, g)
	return translated(b, policy.KindVirtualService, fmt.Sprintf("team-%d", n%100), fmt.Sprintf("app-%d", n), spec).(*policy.VirtualService)
}

func benchModel(b *testing.B, virtualServices int) *mesh.Model {
	b.Helper()
	m := newModel(b)
	for n := range gatewaysInBench {
		if err := m.Put(benchGateway(b, n)); err != nil {
			b.Fatal(err)
		}
	}
	putVirtualServices(b, m, virtualServices)
	return m
}

// putVirtualServices puts that many, a thousand in one write.
func putVirtualServices(b *testing.B, m *mesh.Model, number int) {
	b.Helper()
	var batch []policy.Resource
	for n := range number {
		batch = append(batch, benchVirtualService(b, n))
		if len(batch) < 1000 && n < number-1 {
			continue
		}
		if err := m.Put(batch...); err != nil {
			b.Fatal(err)
		}
		batch = nil
	}
}

// BenchmarkDecision judges one new VirtualService against its Gateway in models of different sizes: the figures must not
// differ by more than the depth of the index.
func BenchmarkDecision(b *testing.B) {
	for _, size := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprintf("stored=%d", size), func(b *testing.B) {
			m := benchModel(b, size)
			v := benchVirtualService(b, size+gatewaysInBench/2)
			rules := policy.Rules()
			// What the building of the model left behind is not the decision's to clear up.
			runtime.GC()
			b.ReportAllocs()
			for b.Loop() {
				w := m.World()
				if err := w.Put(v); err != nil {
					b.Fatal(err)
				}
				if found := policy.Evaluate(w, policy.Object{VirtualService: v}, rules); len(found) > 0 {
					b.Fatal(found)
				}
			}
		})
	}
}

// BenchmarkLiveHeap reports how many bytes of live heap a stored VirtualService and its index entries take.
func BenchmarkLiveHeap(b *testing.B) {
	const size = 100_000
	for b.Loop() {
		m := benchModel(b, 0)
		before := liveHeap()
		putVirtualServices(b, m, size)
		b.ReportMetric(float64(liveHeap()-before)/size, "B/VirtualService")
		runtime.KeepAlive(m)
	}
}

func liveHeap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
