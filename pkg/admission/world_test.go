package admission_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	webhook "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/meshwarden/meshwarden/pkg/admission"
	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

const requestUID = types.UID("5d7f3f0e")

// world is a Validator with everything around it faked: what the cache holds, what the API server holds, and who is told.
type world struct {
	*admission.Validator
	model    *mesh.Model
	cluster  *fakeCluster
	recorder *fakeRecorder
	metrics  *prometheus.Registry
	log      *logLines
}

// newWorld returns a world without objects whose rules and options are the defaults, unless changed.
func newWorld(t testing.TB, change ...func(*admission.Options)) *world {
	t.Helper()
	model, err := mesh.New()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		model: model, recorder: &fakeRecorder{}, metrics: prometheus.NewRegistry(), log: &logLines{},
		cluster: &fakeCluster{stored: map[policy.Ref]policy.Resource{}, terminating: map[string]bool{}, domain: "cluster.local"},
	}
	metrics, err := admission.NewMetrics(w.metrics)
	if err != nil {
		t.Fatal(err)
	}
	o := admission.Options{
		Model: model, Cluster: w.cluster,
		Rules: policy.Rules(), Enforcement: policy.Deny, Overridable: []string{"MW207"}, Deadline: time.Minute,
		Recorder: w.recorder, Metrics: metrics, Clock: clocktesting.NewFakePassiveClock(time.Unix(0, 0)),
		Log: funcr.NewJSON(w.log.add, funcr.Options{Verbosity: 1}),
	}
	for _, c := range change {
		c(&o)
	}
	w.Validator = admission.NewValidator(o)
	return w
}

// cache puts the objects into the model, as an informer would.
func (w *world) cache(t testing.TB, objects ...object) {
	t.Helper()
	for _, o := range objects {
		if err := w.model.Put(o.parsed(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// store puts the objects where live reads find them.
func (w *world) store(t testing.TB, objects ...object) {
	t.Helper()
	for _, o := range objects {
		r := o.parsed(t)
		w.cluster.stored[r.Ref()] = r
	}
}

// fakeCluster stands in for the API server and the informers.
type fakeCluster struct {
	stored map[policy.Ref]policy.Resource
	// readErr and terminatingErr fail the calls; notReady makes WaitReady wait for the end of its context.
	readErr, terminatingErr, notReady error
	terminating                       map[string]bool
	// domain is the cluster's; becomesReady runs when somebody waits for the model.
	domain       string
	becomesReady func(*fakeCluster)

	mu       sync.Mutex
	reads    []policy.Ref
	asked    []string
	expected []string
}

func (c *fakeCluster) Read(ctx context.Context, ref policy.Ref) (policy.Resource, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads = append(c.reads, ref)
	return c.stored[ref], errors.Join(c.readErr, ctx.Err())
}

func (c *fakeCluster) Translator() istio.Translator {
	return istio.Translator{ClusterDomain: c.domain}
}

func (c *fakeCluster) WaitReady(ctx context.Context, _ policy.Kind) error {
	if c.becomesReady != nil {
		c.becomesReady(c)
	}
	if c.notReady == nil {
		return nil
	}
	<-ctx.Done()
	return fmt.Errorf("%w: %w", c.notReady, ctx.Err())
}

func (c *fakeCluster) Expect(ref policy.Ref, generation int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expected = append(c.expected, fmt.Sprintf("%s@%d", ref, generation))
}

func (c *fakeCluster) Terminating(_ context.Context, namespace string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, namespace)
	return c.terminating[namespace], c.terminatingErr
}

// fakeRecorder keeps the Events that are written.
type fakeRecorder struct {
	mu     sync.Mutex
	events []event
}

type event struct {
	Object                corev1.ObjectReference
	Type, Reason, Message string
}

func (r *fakeRecorder) Eventf(regarding, _ runtime.Object, eventtype, reason, _, note string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o, _ := regarding.(*corev1.ObjectReference)
	r.events = append(r.events, event{Object: *o, Type: eventtype, Reason: reason, Message: fmt.Sprintf(note, args...)})
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

// object is an object of the mesh in the form in which the API server sends it.
type object map[string]any

// gateway returns a Gateway "namespace/name" with one server.
func gateway(name string, hosts ...string) object {
	return newObject("Gateway", name, map[string]any{"servers": []any{
		map[string]any{"port": map[string]any{"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": hosts},
	}})
}

// virtualService returns a VirtualService "namespace/name" with one http route.
func virtualService(name string, hosts []string, gateways ...string) object {
	return newObject("VirtualService", name, map[string]any{"hosts": hosts, "gateways": gateways, "http": []any{map[string]any{}}})
}

func newObject(kind, name string, spec any) object {
	namespace, name, _ := strings.Cut(name, "/")
	return object{
		"apiVersion": "networking.istio.io/v1", "kind": kind, "spec": spec,
		"metadata": map[string]any{"namespace": namespace, "name": name, "uid": "u-" + name, "generation": 1},
	}
}

// with returns a copy with the field of the metadata set.
func (o object) with(field string, value any) object {
	c := maps.Clone(o)
	metadata := maps.Clone(o.metadata())
	metadata[field] = value
	c["metadata"] = metadata
	return c
}

// annotated returns a copy with the one annotation.
func (o object) annotated(key, value string) object {
	return o.with("annotations", map[string]string{key: value})
}

// matching returns a copy of a VirtualService with a further route, whose match names the gateways.
func (o object) matching(gateways ...string) object {
	c := maps.Clone(o)
	spec, _ := o["spec"].(map[string]any)
	spec = maps.Clone(spec)
	spec["http"] = []any{map[string]any{"match": []any{map[string]any{"gateways": gateways}}}, map[string]any{}}
	c["spec"] = spec
	return c
}

func (o object) metadata() map[string]any {
	m, _ := o["metadata"].(map[string]any)
	return m
}

func (o object) raw() []byte {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err) // the test's own literal
	}
	return b
}

func (o object) parsed(t testing.TB) policy.Resource {
	t.Helper()
	into, ok := istio.NewObject(policy.Kind(fmt.Sprint(o["kind"])))
	if !ok {
		t.Fatalf("%v is not of the mesh", o["kind"])
	}
	if err := json.Unmarshal(o.raw(), into); err != nil {
		t.Fatal(err)
	}
	r, err := istio.Translator{ClusterDomain: "cluster.local"}.Translate(into)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// creation, replacement and deletion return the request that the API server sends for the change.
func creation(o object) webhook.Request {
	return requestOn(o, admissionv1.Create, o, nil)
}

func replacement(before, after object) webhook.Request {
	return requestOn(after, admissionv1.Update, after, before)
}

func deletion(o object) webhook.Request {
	return requestOn(o, admissionv1.Delete, nil, o)
}

func dryRun(r webhook.Request) webhook.Request {
	r.DryRun = new(true)
	return r
}

func requestOn(o object, operation admissionv1.Operation, after, before object) webhook.Request {
	r := webhook.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		UID: requestUID, Operation: operation,
		Kind:      metav1.GroupVersionKind{Group: "networking.istio.io", Version: "v1", Kind: fmt.Sprint(o["kind"])},
		Namespace: fmt.Sprint(o.metadata()["namespace"]), Name: fmt.Sprint(o.metadata()["name"]),
		UserInfo: authenticationv1.UserInfo{Username: "jane@example.com"},
	}}
	if after != nil {
		r.Object.Raw = after.raw()
	}
	if before != nil {
		r.OldObject.Raw = before.raw()
	}
	return r
}

// answer is what the tests compare of a response.
type answer struct {
	Allowed        bool
	Code           int32
	Denied, Warned []string // rule IDs, one a finding
}

func summary(r webhook.Response) answer {
	a := answer{Allowed: r.Allowed}
	if r.Result != nil && !r.Allowed {
		a.Code = r.Result.Code
		if r.Result.Details != nil {
			for _, c := range r.Result.Details.Causes {
				id, _, _ := strings.Cut(c.Message, " ")
				a.Denied = append(a.Denied, id)
			}
		}
	}
	for _, w := range r.Warnings {
		_, text, _ := strings.Cut(w, ": ")
		id, _, _ := strings.Cut(text, " ")
		a.Warned = append(a.Warned, id)
	}
	return a
}

// metric returns the value of a counter, or the number of a histogram's observations; 0 when there is none. Labels are
// given as the values in the order of the label names.
func (w *world) metric(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if slices.Equal(values, labels) {
				return m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}
