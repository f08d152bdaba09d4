package audit_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/meshwarden/meshwarden/pkg/audit"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

const (
	standing = "meshwarden_stored_findings"
	total    = "meshwarden_stored_findings_total"
)

// step is one thing that happens, and what is to be made known until the world has settled after it.
type step struct {
	what string
	do   func(*testing.T, *world)
	told []string
	// standing is the gauge of denials after the step: by MW101 and MW102.
	standing [2]float64
}

// TestAuditorFollowsTheMesh: one report for each finding that is new, whatever brought it about.
func TestAuditorFollowsTheMesh(t *testing.T) {
	put := func(objects ...policy.Resource) func(*testing.T, *world) {
		return func(t *testing.T, w *world) { t.Helper(); w.put(t, objects...) }
	}
	remove := func(o policy.Resource) func(*testing.T, *world) {
		return func(t *testing.T, w *world) { t.Helper(); w.remove(t, o.Ref()) }
	}
	public, web, shop := gateway("public", "*.example.com"), virtualService("web", "a.example.com", "public"), virtualService("shop", "b.example.com", "public")
	tests := []struct {
		reason string
		steps  []step
	}{
		{"what lines up is not spoken of", []step{{"a pair", put(public, web), nil, [2]float64{}}}},
		{"told once while it stays, again when it comes back", []step{
			{"no gateway", put(web), []string{"GatewayNotFound shop/web"}, [2]float64{1, 0}},
			{"the same again", put(web), nil, [2]float64{1, 0}},
			{"another edit that changes nothing about it", put(virtualService("web", "other.example.com", "public")), nil, [2]float64{1, 0}},
			{"fixed", put(public, web), nil, [2]float64{}},
			{"broken again", remove(public), []string{"GatewayNotFound shop/web"}, [2]float64{1, 0}},
		}},
		{"one finding gives way to another", []step{
			{"no gateway", put(web), []string{"GatewayNotFound shop/web"}, [2]float64{1, 0}},
			{"a gateway without the host", put(gateway("public", "*.other.com")), []string{"HostNotServed shop/web"}, [2]float64{0, 1}},
			{"gone", remove(web), nil, [2]float64{}},
		}},
		{"a Gateway's change is judged on its VirtualServices, and on no others", []step{
			{"three in order", put(public, web, shop, gateway("own", "c.example.com"), virtualService("other", "c.example.com", "own")), nil, [2]float64{}},
			{"the Gateway loses a host", put(gateway("public", "b.example.com")), []string{"HostNotServed shop/web"}, [2]float64{0, 1}},
			{"the Gateway goes", remove(public), []string{"GatewayNotFound shop/shop", "GatewayNotFound shop/web"}, [2]float64{2, 0}},
			{"the Gateway comes back", put(public), nil, [2]float64{}},
		}},
		{"a finding for each of the gateways", []step{
			{"two missing", put(virtualService("web", "a.example.com", "x", "y")), []string{"GatewayNotFound shop/web", "GatewayNotFound shop/web"}, [2]float64{2, 0}},
			{"one came", put(gateway("x", "a.example.com")), nil, [2]float64{1, 0}},
			{"a third is named", put(virtualService("web", "a.example.com", "x", "y", "z")), []string{"GatewayNotFound shop/web"}, [2]float64{2, 0}},
		}},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.lead(t)
				news := 0
				for _, s := range tc.steps {
					s.run(t, w)
					news += len(s.told)
				}
				if got := w.metric(t, total, "MW101") + w.metric(t, total, "MW102"); got != float64(news) || w.log.count() != news {
					t.Errorf("counted %v and logged %d of %d", got, w.log.count(), news)
				}
			})
		})
	}
}

func (s step) run(t *testing.T, w *world) {
	t.Helper()
	s.do(t, w)
	w.settle()
	w.tick(3) // nothing more follows
	if diff := cmp.Diff(s.told, w.told()); diff != "" {
		t.Errorf("%s: told (-want +got):\n%s", s.what, diff)
	}
	got := [2]float64{w.metric(t, standing, "deny", "MW101"), w.metric(t, standing, "deny", "MW102")}
	if got != s.standing {
		t.Errorf("%s: the gauges are %v instead of %v", s.what, got, s.standing)
	}
}

// TestAuditorWritesEvent holds the whole Event: it must be found on the object, and hold what to do.
func TestAuditorWritesEvent(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.lead(t)
		w.put(t, virtualService("web", "a.example.com", "public"))
		w.settle()
		if len(w.recorder.events) != 1 {
			t.Fatalf("%d Events", len(w.recorder.events))
		}
		got := w.recorder.events[0]
		for _, part := range []string{"MW101 gateway-not-found: ", "infra/public", policy.Rules()[0].Remedy} {
			if !strings.Contains(got.Message, part) {
				t.Errorf("message %q lacks %q", got.Message, part)
			}
		}
		got.Message, got.judged = "", 0
		want := event{Type: corev1.EventTypeWarning, Reason: "GatewayNotFound", Action: "Evaluate", Object: corev1.ObjectReference{
			APIVersion: "networking.istio.io/v1", Kind: "VirtualService", Namespace: "shop", Name: "web", UID: "u-web",
		}}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(event{})); diff != "" {
			t.Errorf("Event (-want +got):\n%s", diff)
		}
		line := w.log.lines[len(w.log.lines)-1]
		if line["object"] != "VirtualService shop/web" || line["rule"] != "MW101" || line["path"] != "spec.gateways[0]" {
			t.Errorf("log line %v", line)
		}
	})
}

// TestAuditorSettles: the objects of one commit arrive in any order, so nothing is judged at once.
func TestAuditorSettles(t *testing.T) {
	public, web := gateway("public", "*.example.com"), virtualService("web", "a.example.com", "public")
	tests := []struct {
		reason string
		run    func(*testing.T, *world)
		told   int
		reads  bool
	}{
		{"not before it has rested", func(t *testing.T, w *world) { w.put(t, web); w.tick(1) }, 0, false},
		{"once it has", func(t *testing.T, w *world) { w.put(t, web); w.tick(2) }, 1, true},
		{"the Gateway comes a moment later", func(t *testing.T, w *world) { w.put(t, web); w.tick(1); w.put(t, public); w.tick(4) }, 0, false},
		{"what changes all the time is judged all the same", func(t *testing.T, w *world) {
			w.put(t, web)
			for range 5 {
				w.tick(1)
				w.put(t, web)
			}
		}, 1, true},
		{"two changes make one finding", func(t *testing.T, w *world) { w.put(t, web); w.tick(1); w.put(t, web); w.tick(2) }, 1, true},
		{"gone within the period", func(t *testing.T, w *world) { w.put(t, web); w.tick(1); w.remove(t, web.Ref()); w.tick(4) }, 0, false},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.lead(t)
				w.tick(1) // the first round takes in everything that is stored
				tc.run(t, w)
				if got := w.told(); len(got) != tc.told {
					t.Errorf("told %v", got)
				}
				if (w.cluster.reads > 0) != tc.reads {
					t.Errorf("%d live reads", w.cluster.reads)
				}
			})
		})
	}
}

// TestAuditorReadsAgain: the cache may lag, and a report must not.
func TestAuditorReadsAgain(t *testing.T) {
	public, web := gateway("public", "*.example.com"), virtualService("web", "a.example.com", "public")
	tests := []struct {
		reason string
		live   []policy.Resource
		want   []string
		// caughtUp is told when the cache has what the API server had, and nothing else changed.
		caughtUp []string
	}{
		{"the Gateway is there; the cache will know", []policy.Resource{public, web}, nil, nil},
		{"the VirtualService is gone; the cache will know", nil, nil, nil},
		{
			"the VirtualService names another gateway by now, which is missing: that finding is told, once",
			[]policy.Resource{virtualService("web", "a.example.com", "elsewhere")},
			[]string{"GatewayNotFound shop/web"},
			nil,
		},
		{
			"the Gateway is there without the host: that finding is told, once",
			[]policy.Resource{gateway("public", "*.other.com"), web},
			[]string{"HostNotServed shop/web"},
			nil,
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.lead(t)
				w.cluster.store(tc.live...)
				w.cache(t, web)
				w.settle()
				if diff := cmp.Diff(tc.want, w.told()); diff != "" {
					t.Errorf("told (-want +got):\n%s", diff)
				}
				w.remove(t, web.Ref())
				w.put(t, tc.live...)
				w.settle()
				if diff := cmp.Diff(tc.caughtUp, w.told()); diff != "" {
					t.Errorf("told once the cache has caught up (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestAuditorLeavesWhatIsBeingDeleted: objects that go together go in any order, and that is no news.
func TestAuditorLeavesWhatIsBeingDeleted(t *testing.T) {
	web := virtualService("web", "a.example.com", "public")
	for _, tc := range []struct {
		reason string
		change func(*fakeCluster)
	}{
		{"the namespace is being deleted", func(c *fakeCluster) { c.terminating = map[string]bool{"shop": true} }},
		{"the object is being deleted", func(c *fakeCluster) { c.deleting = map[policy.Ref]bool{web.Ref(): true} }},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.cluster.change(tc.change)
				w.lead(t)
				w.put(t, web)
				w.settle()
				if got := w.told(); len(got) > 0 || w.metric(t, standing, "deny", "MW101") != 0 {
					t.Errorf("told %v", got)
				}
			})
		})
	}
}

// TestAuditorRemembersRefuted: what a live read refuted is no known finding, so that it is told when it becomes true.
func TestAuditorRemembersRefuted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		public, web := gateway("public", "*.example.com"), virtualService("web", "a.example.com", "public")
		w.lead(t)
		w.cluster.store(public, web)
		w.cache(t, web)
		w.settle()
		w.cluster.drop(public.Ref())
		w.cache(t, web)
		w.settle()
		if diff := cmp.Diff([]string{"GatewayNotFound shop/web"}, w.told()); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

// TestAuditorWaits covers the times in which nothing can be judged, and that nothing is lost in them.
func TestAuditorWaits(t *testing.T) {
	web := virtualService("web", "a.example.com", "public")
	tests := []struct {
		reason     string
		fail, mend func(*fakeCluster)
	}{
		{"the model is not ready", func(c *fakeCluster) { c.notReady = errors.New("not yet") }, func(c *fakeCluster) { c.notReady = nil }},
		{"the live read fails", func(c *fakeCluster) { c.readErr = errors.New("refused") }, func(c *fakeCluster) { c.readErr = nil }},
		{"the object cannot be found", func(c *fakeCluster) { c.identifyErr = errors.New("refused") }, func(c *fakeCluster) { c.identifyErr = nil }},
		{"the namespace cannot be read", func(c *fakeCluster) { c.terminatingErr = errors.New("refused") }, func(c *fakeCluster) { c.terminatingErr = nil }},
	}
	for _, tc := range tests {
		for _, before := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, stored before it leads: %t", tc.reason, before), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					w.cluster.change(tc.fail)
					if before {
						w.put(t, web)
					}
					w.lead(t)
					if !before {
						w.put(t, web)
					}
					w.tick(10)
					if got := w.told(); len(got) > 0 || w.metric(t, standing, "deny", "MW101") != 0 {
						t.Errorf("told %v", got)
					}
					w.cluster.change(tc.mend)
					w.tick(4)
					if diff := cmp.Diff([]string{"GatewayNotFound shop/web"}, w.told()); diff != "" {
						t.Errorf("told (-want +got):\n%s", diff)
					}
				})
			})
		}
	}
}

// TestAuditorUnparsable: an object that nobody can judge is reported once, and its repair ends it.
func TestAuditorUnparsable(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		old := policy.Ref{Kind: policy.KindGateway, Key: policy.Key{Namespace: "infra", Name: "old"}}
		late := policy.Ref{Kind: policy.KindVirtualService, Key: policy.Key{Namespace: "shop", Name: "late"}}
		broken := func(ref policy.Ref) {
			w.cluster.change(func(c *fakeCluster) { c.unparsable[ref] = errors.New("spec.servers: cannot read a number") })
		}
		broken(old)
		w.lead(t)
		w.settle()
		if diff := cmp.Diff([]string{"Unparsable infra/old"}, w.told()); diff != "" {
			t.Errorf("stored before it leads: told (-want +got):\n%s", diff)
		}
		broken(late)
		for _, ref := range []policy.Ref{late, old, late} {
			w.remove(t, ref) // the informer takes it out of the model, which is how the Auditor hears of it
			w.settle()
		}
		if diff := cmp.Diff([]string{"Unparsable shop/late"}, w.told()); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		if got := w.metric(t, standing, "warn", policy.UnparsableID); got != 2 {
			t.Errorf("the gauge is %v", got)
		}
		w.cluster.change(func(c *fakeCluster) { clear(c.unparsable) })
		w.put(t, gateway("old", "a.example.com"), virtualService("late", "a.example.com", "old"))
		w.settle()
		if got := w.told(); len(got) > 0 || w.metric(t, standing, "warn", policy.UnparsableID) != 0 {
			t.Errorf("told %v after the repair, the gauge is %v", got, w.metric(t, standing, "warn", policy.UnparsableID))
		}
	})
}

// TestAuditorCapsEvents: a Gateway with thousands of VirtualServices must not flood the API server when it goes. Logs and
// metrics tell of every one, and a live read of everything is not worth it either.
func TestAuditorCapsEvents(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for i := range 600 {
			w.put(t, virtualService(fmt.Sprintf("v%03d", i), "a.example.com", "public"))
		}
		w.lead(t)
		w.settle()
		if got := len(w.told()); got != 500 {
			t.Errorf("%d Events", got)
		}
		if got := w.metric(t, total, "MW101"); got != 600 || w.metric(t, standing, "deny", "MW101") != 600 || w.log.count() != 600 {
			t.Errorf("counted %v, standing %v, logged %d", got, w.metric(t, standing, "deny", "MW101"), w.log.count())
		}
		if w.cluster.reads != 64 {
			t.Errorf("%d live reads", w.cluster.reads)
		}
		w.put(t, virtualService("late", "a.example.com", "public"))
		w.settle()
		if diff := cmp.Diff([]string{"GatewayNotFound shop/late"}, w.told()); diff != "" {
			t.Errorf("the next round: told (-want +got):\n%s", diff)
		}
	})
}

// TestAuditorFollower: a replica that does not lead keeps nothing of what changes, which would grow without end.
func TestAuditorFollower(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		if !w.NeedLeaderElection() {
			t.Error("every replica would write")
		}
		web := virtualService("web", "a.example.com", "public")
		w.put(t, web)
		w.tick(4)
		if got := w.told(); len(got) > 0 {
			t.Errorf("told %v", got)
		}
		// What came and went before it leads is not judged then: only what is stored.
		w.remove(t, web.Ref())
		w.lead(t)
		w.settle()
		if len(w.cluster.judged) > 0 {
			t.Errorf("judged %v", w.cluster.judged)
		}
	})
}

func TestMetricsAreRegisteredOnce(t *testing.T) {
	r := prometheus.NewRegistry()
	if _, err := audit.NewMetrics(r); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.NewMetrics(r); err == nil {
		t.Error("registered twice")
	}
}
