package onboarding

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

func TestSetup(t *testing.T) {
	complete := func() Options {
		return Options{
			Backfill:    policy.BackfillMissed,
			InstalledAt: func(context.Context) (time.Time, error) { return installed, nil },
			Events:      &events.FakeRecorder{},
			Metrics:     prometheus.NewRegistry(),
		}
	}
	tests := []struct {
		reason  string
		change  func(*testing.T, *Options)
		message string // part of the error; empty: no error
	}{
		{"complete", func(*testing.T, *Options) {}, ""},
		{"an unknown mode", func(_ *testing.T, o *Options) { o.Backfill = "some" }, `backfill mode "some" is unknown`},
		{"no recorder", func(_ *testing.T, o *Options) { o.Events = nil }, "are required"},
		{"a registry that has the metrics already", func(t *testing.T, o *Options) {
			if _, err := newMetrics(o.Metrics); err != nil {
				t.Fatal(err)
			}
		}, "registering the onboarding metrics"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			options := complete()
			tc.change(t, &options)
			err := Setup(newManager(t), options)
			if tc.message == "" && err != nil {
				t.Fatal(err)
			}
			if tc.message != "" && (err == nil || !strings.Contains(err.Error(), tc.message)) {
				t.Errorf("error %v, want one with %q", err, tc.message)
			}
		})
	}
}

// newManager returns a manager that is never started and talks to no server.
func newManager(t *testing.T) ctrl.Manager {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := networkingv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	repeated := true // one process sets the controller up several times
	mgr, err := ctrl.NewManager(&rest.Config{Host: "http://127.0.0.1:1"}, ctrl.Options{
		Scheme:     scheme,
		Metrics:    server.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: &repeated},
	})
	if err != nil {
		t.Fatal(err)
	}
	return mgr
}

func TestNamespaceOf(t *testing.T) {
	want := []reconcile.Request{{NamespacedName: types.NamespacedName{Name: "shop"}}}
	if diff := cmp.Diff(want, namespaceOf(t.Context(), policy.DefaultNetworkPolicy("shop"))); diff != "" {
		t.Errorf("Meshwarden's name (-want +got):\n%s", diff)
	}
	if got := namespaceOf(t.Context(), otherPolicy()); got != nil {
		t.Errorf("another name asks for %v", got)
	}
}
