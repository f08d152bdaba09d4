package mesh_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// gatewaysInBench is over how many Gateways the VirtualServices are spread, and these over workloadsInBench.
const (
	gatewaysInBench  = 1000
	workloadsInBench = 100
	// boundInBench is how many VirtualServices name the Gateway whose change is judged, however many there are besides.
	boundInBench = 10
)

// translated returns the object's value for the rules. Each comes from a text of its own, as from an API server, so that
// no two share a string.
func translated(b testing.TB, kind policy.Kind, namespace, name, spec string) policy.Resource {
	b.Helper()
	o, ok := istio.NewObject(kind)
	if !ok {
		b.Fatalf("no objects of kind %s", kind)
	}
	if err := json.Unmarshal(fmt.Appendf(nil, `{"spec":%s}`, spec), o); err != nil {
		b.Fatal(err)
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

func benchGateway(b testing.TB, n int) *policy.Gateway {
	spec := fmt.Sprintf(`{"selector":{"istio":"ingress-%d"},"servers":[
		{"port":{"number":80,"name":"http","protocol":"HTTP"},"hosts":["*/*.g%[2]d.example.com","./internal.example.com"]},
		{"port":{"number":443,"name":"https","protocol":"HTTPS"},"tls":{"mode":"SIMPLE","credentialName":"c"},"hosts":["*/*.g%[2]d.example.com"]}]}`,
		n%workloadsInBench, n)
	return translated(b, policy.KindGateway, "edge", fmt.Sprintf("gateway-%d", n), spec).(*policy.Gateway)
}

func benchVirtualService(b testing.TB, n int) *policy.VirtualService {
	g := 0
	if n >= boundInBench {
		g = 1 + n%(gatewaysInBench-1)
	}
	spec := fmt.Sprintf(`{"hosts":["app-%d.g%d.example.com"],"gateways":["edge/gateway-%d"],
		"http":[{"match":[{"uri":{"prefix":"/v2"},"gateways":["edge/gateway-%[3]d"]}],"route":[{"destination":{"host":"app"}}]}]}`, n, g, g)
	return translated(b, policy.KindVirtualService, fmt.Sprintf("team-%d", n%100), fmt.Sprintf("app-%d", n), spec).(*policy.VirtualService)
}

// benchWorkload returns a Deployment of gateways and its Service.
func benchWorkload(b testing.TB, n int) (deployment, service policy.Resource) {
	name := fmt.Sprintf("ingress-%d", n)
	deployment = translated(b, policy.KindDeployment, "edge", name, fmt.Sprintf(`{"template":{
		"metadata":{"labels":{"app":%[1]q,"istio":%[1]q,"version":"v1"},"annotations":{"inject.istio.io/templates":"gateway"}},
		"spec":{"containers":[{"name":"istio-proxy","ports":[{"name":"https","containerPort":8443}]}]}}}`, name))
	service = translated(b, policy.KindService, "edge", name, fmt.Sprintf(`{"selector":{"istio":%q},"ports":[
		{"name":"http","port":80,"targetPort":8080},{"name":"https","port":443,"targetPort":"https"}]}`, name))
	return deployment, service
}

func benchModel(b testing.TB, virtualServices int) *mesh.Model {
	b.Helper()
	m := newModel(b)
	var objects []policy.Resource
	for n := range workloadsInBench {
		deployment, service := benchWorkload(b, n)
		objects = append(objects, deployment, service)
	}
	for n := range gatewaysInBench {
		objects = append(objects, benchGateway(b, n))
	}
	if err := m.Put(objects...); err != nil {
		b.Fatal(err)
	}
	putVirtualServices(b, m, virtualServices)
	return m
}

// putVirtualServices puts that many, a thousand in one write.
func putVirtualServices(b testing.TB, m *mesh.Model, number int) {
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

// BenchmarkDecision judges a new VirtualService, and a new version of a Gateway, in models of different sizes: the figures
// must not differ by more than the depth of the index.
func BenchmarkDecision(b *testing.B) {
	for _, size := range []int{100, 10_000, 100_000} {
		m := benchModel(b, size)
		v := benchVirtualService(b, size+gatewaysInBench/2)
		old, changed := benchGateway(b, 0), benchGateway(b, 0)
		for _, bench := range []struct {
			name   string
			object policy.Object
		}{
			{"VirtualService", policy.Object{VirtualService: v}},
			{"Gateway", policy.Object{Gateway: changed, Replaced: old}},
		} {
			b.Run(fmt.Sprintf("%s/stored=%d", bench.name, size), func(b *testing.B) {
				var put policy.Resource = v
				if bench.object.Gateway != nil {
					put = changed
				}
				rules := policy.Rules()
				// What the building of the model left behind is not the decision's to clear up.
				runtime.GC()
				b.ReportAllocs()
				for b.Loop() {
					decide(b, m, put, bench.object, rules)
				}
			})
		}
	}
}

// BenchmarkDecisionRatio times decisions in models of different sizes by turns, so that whatever else the machine does hits
// all of them alike, and reports how much longer the median batch takes in the larger ones.
func BenchmarkDecisionRatio(b *testing.B) {
	const batch = 100
	sizes := []int{100, 10_000, 100_000}
	rules := policy.Rules()
	var models []*mesh.Model
	var submitted []*policy.VirtualService
	for _, size := range sizes {
		models = append(models, benchModel(b, size))
		submitted = append(submitted, benchVirtualService(b, size+gatewaysInBench/2))
	}
	runtime.GC()
	times := make([][]time.Duration, len(sizes))
	for b.Loop() {
		for i, m := range models {
			start := time.Now()
			for range batch {
				decide(b, m, submitted[i], policy.Object{VirtualService: submitted[i]}, rules)
			}
			times[i] = append(times[i], time.Since(start))
		}
	}
	for i := range times {
		slices.Sort(times[i])
	}
	median := func(i int) float64 { return float64(times[i][len(times[i])/2]) }
	b.ReportMetric(median(0)/batch, "ns/decision@100")
	b.ReportMetric(median(1)/median(0), "x@10000")
	b.ReportMetric(median(2)/median(0), "x@100000")
}

// decide judges one object, which nothing is to be found about.
func decide(tb testing.TB, m *mesh.Model, put policy.Resource, o policy.Object, rules []policy.Rule) {
	w := m.World()
	if err := w.Put(put); err != nil {
		tb.Fatal(err)
	}
	if found := policy.Evaluate(w, o, rules); len(found) > 0 {
		tb.Fatal(found)
	}
}

// TestAllocationsDoNotGrow: what has nothing to do with a decision costs it nothing.
func TestAllocationsDoNotGrow(t *testing.T) {
	rules := policy.Rules()
	var allocations []float64
	for _, size := range []int{100, 10_000} {
		m := benchModel(t, size)
		v := benchVirtualService(t, size+gatewaysInBench/2)
		allocations = append(allocations, testing.AllocsPerRun(100, func() {
			decide(t, m, v, policy.Object{VirtualService: v}, rules)
		}))
	}
	if allocations[1] > 1.3*allocations[0] {
		t.Errorf("a decision allocates %v times with 100 VirtualServices stored and %v times with 10,000", allocations[0], allocations[1])
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
