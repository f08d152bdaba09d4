package informer_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/meshwarden/meshwarden/pkg/informer"
	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// patience is how long a test waits for what must happen. No test waits for something not to happen.
const patience = 30 * time.Second

// world is a Cluster in front of a fake API server.
type world struct {
	*informer.Cluster
	server  *apiServer
	model   *mesh.Model
	clock   *clocktesting.FakeClock
	metrics *prometheus.Registry
	log     *logLines
}

func newWorld(t *testing.T, streams bool) *world {
	t.Helper()
	return newWorldWith(t, streams, fake.NewClientBuilder().Build(), istio.MeshSettings{})
}

// newWorldWith returns a world whose Namespaces come from the reader, and in which some settings are given.
func newWorldWith(t *testing.T, streams bool, reader client.Reader, given istio.MeshSettings) *world {
	t.Helper()
	return newWorldOf(t, streams, informer.Options{Reader: reader, Given: given})
}

// newWorldOf returns a world of these options; those that are the same in each are filled in.
func newWorldOf(t *testing.T, streams bool, o informer.Options) *world {
	t.Helper()
	model, err := mesh.New()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		server: newAPIServer(t, streams), model: model, clock: clocktesting.NewFakeClock(time.Unix(0, 0)), metrics: prometheus.NewRegistry(),
		log: &logLines{},
	}
	o.Config, o.Model, o.IstioNamespace = &rest.Config{Host: w.server.URL, QPS: -1}, model, "istio-system"
	o.Registerer, o.Clock, o.Log = w.metrics, w.clock, funcr.NewJSON(w.log.add, funcr.Options{})
	w.Cluster, err = informer.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// start runs the informers until the test ends.
func (w *world) start(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, i := range w.Informers() {
		running.Go(func() {
			if err := i.Start(ctx); err != nil {
				t.Errorf("an informer ended with %v", err)
			}
		})
	}
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
}

// eventually waits until the condition holds.
func (w *world) eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, patience, true, func(context.Context) (bool, error) {
		return holds(), nil
	})
	if err != nil {
		t.Fatalf("never: %s", what)
	}
}

// eventuallyRetrying is the same while the clock runs, so that what waits for its next try gets it.
func (w *world) eventuallyRetrying(t *testing.T, what string, holds func() bool) {
	t.Helper()
	w.eventually(t, what, func() bool {
		w.clock.Step(time.Second)
		return holds()
	})
}

// ready waits until the model can be relied on.
func (w *world) ready(t *testing.T) {
	t.Helper()
	w.eventually(t, "ready", func() bool { return w.Ready() == nil })
}

// holds says whether the model holds these objects and no others.
func (w *world) holds(names ...string) func() bool {
	return func() bool {
		var got []string
		for _, kind := range []policy.Kind{policy.KindGateway, policy.KindVirtualService} {
			for _, ref := range w.model.World().Refs(kind) {
				got = append(got, ref.String())
			}
		}
		return slices.Equal(got, names)
	}
}

// serves says whether the model holds the Gateway with the host.
func (w *world) serves(name string, host policy.HostName) func() bool {
	return func() bool {
		g, ok := w.model.World().Gateway(policy.Key{Namespace: "infra", Name: name})
		return ok && g.Carries(host, "shop")
	}
}

// metric returns a gauge, or the number and the sum of a histogram's observations.
func (w *world) metric(t *testing.T, name string, labels ...string) (value, sum float64) {
	t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if f.GetName() == name && slices.Equal(values, labels) {
				return m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount()), m.GetHistogram().GetSampleSum()
			}
		}
	}
	return 0, 0
}

// lists returns how many lists the server was asked for.
func (w *world) lists() int {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	return w.server.lists
}

// logLines keeps the lines of a log, each a JSON object.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

// having returns the lines that hold all the parts.
func (l *logLines) having(parts ...string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for _, line := range l.lines {
		if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
			found = append(found, line)
		}
	}
	return found
}
