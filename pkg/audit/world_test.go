package audit_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/meshwarden/meshwarden/pkg/audit"
	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// period is the Auditor's own: what changed rests until the second tick after it.
const period = 250 * time.Millisecond

// world is an Auditor with everything around it faked. It lives in a synctest bubble, so that "nothing more happens" is
// a fact rather than a wait.
type world struct {
	*audit.Auditor
	model    *mesh.Model
	cluster  *fakeCluster
	clock    *clocktesting.FakeClock
	metrics  *prometheus.Registry
	recorder *fakeRecorder
	log      *logLines
}

// inWorld runs the test in a bubble with a world of its own. The Auditor is not started.
func inWorld(t *testing.T, run func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		model, err := mesh.New()
		if err != nil {
			t.Fatal(err)
		}
		w := &world{
			model: model, clock: clocktesting.NewFakeClock(time.Unix(0, 0)), metrics: prometheus.NewRegistry(),
			recorder: &fakeRecorder{}, log: &logLines{},
			cluster: &fakeCluster{live: map[policy.Ref]policy.Resource{}, unparsable: map[policy.Ref]error{}},
		}
		w.recorder.cluster = w.cluster
		metrics, err := audit.NewMetrics(w.metrics)
		if err != nil {
			t.Fatal(err)
		}
		w.Auditor = audit.New(audit.Options{
			Model: model, Cluster: w.cluster, Rules: policy.Rules(), Recorder: w.recorder, Metrics: metrics,
			Clock: w.clock, Log: funcr.NewJSON(w.log.add, funcr.Options{}),
		})
		run(t, w)
	})
}

// lead starts the Auditor until the test ends.
func (w *world) lead(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Start ended with %v", err)
		}
	})
	synctest.Wait()
}

// tick lets the Auditor's period pass n times, and each round come to its end.
func (w *world) tick(n int) {
	for range n {
		w.clock.Step(period)
		synctest.Wait()
	}
}

// settle lets every change so far be judged: it begins to rest at the first tick and is judged at the second.
func (w *world) settle() {
	w.tick(2)
}

// put changes the cache and the API server alike.
func (w *world) put(t *testing.T, objects ...policy.Resource) {
	t.Helper()
	w.cluster.store(objects...)
	w.cache(t, objects...)
}

// cache changes the cache alone: it has what the API server does not.
func (w *world) cache(t *testing.T, objects ...policy.Resource) {
	t.Helper()
	if err := w.model.Put(objects...); err != nil {
		t.Fatal(err)
	}
}

func (w *world) remove(t *testing.T, ref policy.Ref) {
	t.Helper()
	w.cluster.drop(ref)
	if err := w.model.Remove(ref); err != nil {
		t.Fatal(err)
	}
}

// told returns what was made known since the last call: the Events as "Reason namespace/name", in their order.
func (w *world) told() []string {
	w.recorder.mu.Lock()
	defer w.recorder.mu.Unlock()
	var told []string
	for _, e := range w.recorder.events {
		told = append(told, fmt.Sprintf("%s %s/%s", e.Reason, e.Object.Namespace, e.Object.Name))
	}
	w.recorder.events = nil
	return told
}

// standing returns how many findings stand, of all rules.
func (w *world) standing(t *testing.T) float64 {
	t.Helper()
	sum := 0.0
	for _, r := range policy.Rules() {
		for _, action := range []policy.Action{policy.Deny, policy.Warn} {
			sum += w.metric(t, standing, string(action), r.ID)
		}
	}
	return sum
}

// metric returns the sum of a metric's series that have the label values, given in the order of the label names.
func (w *world) metric(t *testing.T, name string, labels ...string) float64 {
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
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

// fakeCluster stands in for the API server and the informers.
type fakeCluster struct {
	mu         sync.Mutex
	live       map[policy.Ref]policy.Resource
	unparsable map[policy.Ref]error
	notReady   error
	readErr    error
	// terminating are the namespaces that are being deleted.
	terminating    map[string]bool
	terminatingErr error
	// deleting are the objects that wait for their finalizers.
	deleting    map[policy.Ref]bool
	identifyErr error
	reads       int
	judged      []policy.Ref // what was asked about on the way to a judgement
	judging     func()       // runs at each
}

// change changes the cluster while the Auditor may look at it.
func (c *fakeCluster) change(f func(*fakeCluster)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

func (c *fakeCluster) store(objects ...policy.Resource) {
	c.change(func(c *fakeCluster) {
		for _, o := range objects {
			c.live[o.Ref()] = o
		}
	})
}

func (c *fakeCluster) drop(ref policy.Ref) {
	c.change(func(c *fakeCluster) { delete(c.live, ref) })
}

func (c *fakeCluster) Read(_ context.Context, ref policy.Ref) (policy.Resource, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	return c.live[ref], c.readErr
}

func (c *fakeCluster) Ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.notReady
}

func (c *fakeCluster) Unparsable() []policy.Ref {
	c.mu.Lock()
	defer c.mu.Unlock()
	var refs []policy.Ref
	for ref := range c.unparsable {
		refs = append(refs, ref)
	}
	return refs
}

// Identify finds every object that the model may hold: UIDs are their names.
func (c *fakeCluster) Identify(_ context.Context, ref policy.Ref) (types.UID, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return types.UID("u-" + ref.Name), !c.deleting[ref], c.identifyErr
}

func (c *fakeCluster) Terminating(_ context.Context, namespace string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.terminating[namespace], c.terminatingErr
}

func (c *fakeCluster) judgements() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.judged)
}

func (c *fakeCluster) WhyUnparsable(ref policy.Ref) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.judged = append(c.judged, ref)
	if c.judging != nil {
		c.judging()
	}
	return c.unparsable[ref]
}

// fakeRecorder keeps the Events that are written.
type fakeRecorder struct {
	cluster *fakeCluster
	mu      sync.Mutex
	events  []event
}

type event struct {
	Object                        corev1.ObjectReference
	Type, Reason, Action, Message string
	// judged is how many objects had been judged by then.
	judged int
}

func (r *fakeRecorder) Eventf(regarding, _ runtime.Object, eventtype, reason, action, note string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o, _ := regarding.(*corev1.ObjectReference)
	r.events = append(r.events, event{Object: *o, Type: eventtype, Reason: reason, Action: action, Message: fmt.Sprintf(note, args...), judged: r.cluster.judgements()})
}

// logLines keeps the lines of a log, each a JSON object.
type logLines struct {
	mu    sync.Mutex
	lines []map[string]any
}

func (l *logLines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var fields map[string]any
	if err := json.Unmarshal([]byte(line), &fields); err != nil {
		panic(err) // the logger's own format
	}
	l.lines = append(l.lines, fields)
}

// count returns how many lines tell of a finding.
func (l *logLines) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.lines {
		if line["msg"] == "stored object does not comply" {
			n++
		}
	}
	return n
}

// gateway returns a Gateway infra/name that carries the hosts for every namespace.
func gateway(name string, hosts ...policy.HostName) *policy.Gateway {
	server := policy.Server{Port: policy.Port{Number: 80, Name: "http", Protocol: "HTTP"}}
	for _, h := range hosts {
		server.Hosts = append(server.Hosts, policy.ServerHost{Namespace: policy.EveryNamespace, Name: h})
	}
	return policy.NewGateway(policy.Gateway{Key: policy.Key{Namespace: "infra", Name: name}, Servers: []policy.Server{server}})
}

// virtualService returns a VirtualService shop/name with a host, gateways of the namespace infra and one http route.
func virtualService(name, host string, gateways ...string) *policy.VirtualService {
	v := &policy.VirtualService{
		Key: policy.Key{Namespace: "shop", Name: name}, Kinds: policy.RouteKinds{HTTP: true},
		Matches: []policy.Match{{Kind: policy.HTTPRoute, Entry: -1}},
	}
	v.Hosts = []policy.Host{{Written: host, Name: policy.HostName(host)}}
	for _, g := range gateways {
		v.Gateways = append(v.Gateways, policy.GatewayRef{Written: "infra/" + g, Gateway: policy.Key{Namespace: "infra", Name: g}})
	}
	return v
}
