package cel

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	webhook "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/meshwarden/meshwarden/internal/fixture"
	"github.com/meshwarden/meshwarden/pkg/admission"
	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// TestAnyHostPolicies: on creation and update, the policies deny just where Meshwarden denies for MW204 and warn just where it
// warns, in the same words: for the rule's fixtures, and for every short list of hosts that matters.
func TestAnyHostPolicies(t *testing.T) {
	server := newAPIServer(t, laxSchemas())
	denials, warnings, meshwarden := newPolicy(t, "gateway-denials.yaml"), newPolicy(t, "gateway-warnings.yaml"), newJudge(t, "MW204")
	denied, warned := 0, 0
	try := func(what string, w write) {
		wantDenied, wantWarned := meshwarden.judge(t, w)
		gotDenied := denials.objections(t, w)
		gotWarned := slices.DeleteFunc(warnings.objections(t, w), func(text string) bool { return !strings.Contains(text, "MW204") })
		if len(gotDenied) > 0 != (len(wantDenied) > 0) || len(gotWarned) > 0 != (len(wantWarned) > 0 && len(wantDenied) == 0) {
			t.Errorf("%s: the policies deny %q and warn %q, Meshwarden denies %q and warns %q", what, gotDenied, gotWarned, wantDenied, wantWarned)
			return
		}
		for _, said := range gotDenied {
			denied++
			if !slices.Contains(wantDenied, said) {
				t.Errorf("%s: the policy says %q, Meshwarden says %q", what, said, wantDenied)
			}
		}
		for _, said := range gotWarned {
			warned++
			if !slices.Contains(wantWarned, said) {
				t.Errorf("%s: the policy warns %q, Meshwarden warns %q", what, said, wantWarned)
			}
		}
	}
	for _, f := range fixtures(t) {
		if f.Submitted.GetKind() == "Gateway" && f.Operation != fixture.Delete {
			w, err := server.write(t.Context(), f.Old(), f.Submitted)
			noError(t, err)
			try(f.Path, w)
		}
	}
	lists := hostLists(3)
	for _, hosts := range lists {
		for _, portless := range []bool{false, true} {
			w, err := server.write(t.Context(), nil, gatewayOf(serverOf(hosts, portless)))
			noError(t, err)
			try(fmt.Sprintf("creation of %v, portless %t", hosts, portless), w)
		}
	}
	random := rand.New(rand.NewPCG(4, 204))
	draw := func() *unstructured.Unstructured {
		servers := make([]any, random.IntN(4))
		for i := range servers {
			servers[i] = serverOf(lists[random.IntN(len(lists))], random.IntN(8) == 0)
		}
		return gatewayOf(servers...)
	}
	for range 4000 {
		before, after := draw(), draw()
		w, err := server.write(t.Context(), before, after)
		noError(t, err)
		try(fmt.Sprintf("update from %v to %v", before.Object["spec"], after.Object["spec"]), w)
	}
	t.Logf("denied %d times, warned %d times", denied, warned)
}

// TestPoliciesNeverFail: what a policy cannot evaluate is not judged or, worse, refused. Whatever Istio's schemas let through
// can be evaluated.
func TestPoliciesNeverFail(t *testing.T) {
	server := newAPIServer(t, istioSchemas(t))
	policies := map[string][]compiled{
		"Gateway":        {newPolicy(t, "gateway-denials.yaml"), newPolicy(t, "gateway-warnings.yaml"), newPolicy(t, "wildcards/gateway.yaml")},
		"VirtualService": {newPolicy(t, "virtualservice-warnings.yaml"), newPolicy(t, "wildcards/virtualservice.yaml")},
	}
	judged, refused := 0, 0
	for _, o := range rich(t) {
		for _, changed := range changes(o) {
			for _, pair := range [][2]*unstructured.Unstructured{{nil, changed}, {o, changed}, {changed, o}} {
				w, err := server.write(t.Context(), pair[0], pair[1])
				if err != nil {
					refused++
					continue
				}
				judged++
				for _, p := range policies[o.GetKind()] {
					p.objections(t, w)
				}
			}
		}
	}
	t.Logf("%d writes judged, %d refused by the API server before that", judged, refused)
	if judged < 500 {
		t.Errorf("%d writes were judged: the test does not test what it should", judged)
	}
}

// TestPoliciesOnLargeObjects: the API server gives a policy a budget, which objects as large as etcd takes them do not use up.
func TestPoliciesOnLargeObjects(t *testing.T) {
	server := newAPIServer(t, laxSchemas())
	var hosts []any
	for i := range 20_000 {
		hosts = append(hosts, fmt.Sprintf("host-%05d.example.com", i))
	}
	var servers []any
	for i := range 1_998 {
		servers = append(servers, serverOf([]any{fmt.Sprintf("host-%05d.example.com", i)}, false))
	}
	hosts, servers = append(hosts, "*/*", "./a.example.com"), append(servers, serverOf([]any{"*/*", "./a.example.com"}, false))
	hostless := &unstructured.Unstructured{Object: with(rich(t)["virtualservice.yaml"].Object, "spec", map[string]any{})}
	virtualService := &unstructured.Unstructured{Object: with(hostless.Object, "spec", map[string]any{"hosts": append(slices.Clone(hosts), "*", "A.example.com")})}
	for _, tc := range []struct {
		file, reason  string
		before, after *unstructured.Unstructured
		want          []string
	}{
		{"gateway-denials.yaml", "hosts", nil, gatewayOf(serverOf(hosts, false)), []string{"spec.servers[0].hosts: MW204"}},
		{"gateway-denials.yaml", "servers", gatewayOf(), gatewayOf(servers...), []string{"spec.servers[1998].hosts: MW204"}},
		{"gateway-warnings.yaml", "hosts", nil, gatewayOf(serverOf(append(slices.Clone(hosts), "A.example.com"), false)), []string{`spec.servers: MW113 doubtful-spelling: the host "A.example.com"`}},
		{"gateway-warnings.yaml", "servers", gatewayOf(servers...), gatewayOf(append(slices.Clone(servers), serverOf([]any{"a"}, false))...), []string{"spec.servers[1998].hosts: MW204"}},
		{"wildcards/gateway.yaml", "hosts", nil, gatewayOf(serverOf(hosts, false)), []string{`spec.servers: the host "*/*"`}},
		{"wildcards/gateway.yaml", "servers", gatewayOf(), gatewayOf(servers...), []string{`spec.servers: the host "*/*"`}},
		{"virtualservice-warnings.yaml", "hosts", nil, virtualService, []string{`spec.hosts[20003]: MW113 doubtful-spelling: the host "A.example.com"`}},
		{"wildcards/virtualservice.yaml", "hosts", hostless, virtualService, []string{`spec.hosts[20002]: "*"`}},
	} {
		w, err := server.write(t.Context(), tc.before, tc.after)
		noError(t, err)
		got := newPolicy(t, tc.file).objections(t, w)
		if !slices.EqualFunc(got, tc.want, strings.HasPrefix) {
			t.Errorf("%s, %s: says %q, want %q", tc.file, tc.reason, got, tc.want)
		}
	}
}

// hostLists are all lists of up to that many hosts, of those that MW204 tells apart.
func hostLists(n int) [][]any {
	all := [][]any{{}}
	for start := 0; n > 0; n-- {
		end := len(all)
		for _, list := range all[start:end] {
			for _, h := range []string{"*/*", "*/*/x", "./*", "./a.example.com", "*/a.example.com", "a.example.com", "shop/*", "*"} {
				all = append(all, append(slices.Clone(list), h))
			}
		}
		start = end
	}
	return all
}

func serverOf(hosts []any, portless bool) map[string]any {
	s := map[string]any{"hosts": hosts}
	if !portless {
		s["port"] = map[string]any{"number": int64(80), "name": "http", "protocol": "HTTP"}
	}
	return s
}

func gatewayOf(servers ...any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": map[string]any{"namespace": "edge", "name": "public"},
		"spec": map[string]any{"servers": servers},
	}}
}

// judge is Meshwarden's admission with one rule, in an empty mesh.
type judge struct {
	*admission.Validator
}

func newJudge(t *testing.T, rule string) judge {
	t.Helper()
	model, err := mesh.New()
	noError(t, err)
	metrics, err := admission.NewMetrics(prometheus.NewRegistry())
	noError(t, err)
	rules := slices.DeleteFunc(policy.Rules(), func(r policy.Rule) bool { return r.ID != rule })
	return judge{admission.NewValidator(admission.Options{
		Model: model, Cluster: emptyCluster{}, Rules: rules, Enforcement: policy.Deny, Deadline: patience,
		Recorder: &events.FakeRecorder{}, Metrics: metrics, Clock: clock.RealClock{}, Log: logr.Discard(),
	})}
}

// patience is more than any answer takes.
const patience = time.Minute

// judge returns what Meshwarden denies the write for and what it warns of.
func (j judge) judge(t *testing.T, w write) (denied, warned []string) {
	t.Helper()
	r := webhook.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Operation: admissionv1.Create, Namespace: w.after.GetNamespace(), Name: w.after.GetName(),
		Kind: metav1.GroupVersionKind{Group: "networking.istio.io", Version: "v1", Kind: w.after.GetKind()},
	}}
	r.Object = raw(t, w.after)
	if w.before != nil {
		r.Operation, r.OldObject = admissionv1.Update, raw(t, w.before)
	}
	answer := j.Handle(t.Context(), r)
	if !answer.Allowed {
		if answer.Result.Details == nil {
			t.Fatalf("Meshwarden cannot judge %v: %s", w.after.Object["spec"], answer.Result.Message)
		}
		for _, c := range answer.Result.Details.Causes {
			denied = append(denied, c.Field+": "+c.Message)
		}
	}
	return denied, answer.Warnings
}

func raw(t *testing.T, o *unstructured.Unstructured) runtime.RawExtension {
	t.Helper()
	b, err := json.Marshal(o)
	noError(t, err)
	return runtime.RawExtension{Raw: b}
}

// emptyCluster is a cluster with nothing in it.
type emptyCluster struct{}

func (emptyCluster) Read(context.Context, policy.Ref) (policy.Resource, error) { return nil, nil }
func (emptyCluster) Translator() istio.Translator                              { return istio.Translator{} }
func (emptyCluster) WaitReady(context.Context, policy.Kind) error              { return nil }
func (emptyCluster) Expect(policy.Ref, int64)                                  {}
func (emptyCluster) Terminating(context.Context, string) (bool, error)         { return false, nil }
