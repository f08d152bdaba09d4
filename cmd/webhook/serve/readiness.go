package serve

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/meshwarden/meshwarden/pkg/informer"
	"github.com/meshwarden/meshwarden/pkg/server"
)

// addChecks adds liveness, readiness and the metric of the latter. ctx is the one that ends when the process is told to stop.
func addChecks(ctx context.Context, mgr manager.Manager, cluster *informer.Cluster, cert serving, webhooks *server.Server, registry prometheus.Registerer, log logr.Logger) error {
	started := &startedFlag{}
	checks := map[string]healthz.Checker{
		"draining": func(*http.Request) error {
			if ctx.Err() != nil {
				return errors.New("told to stop")
			}
			return nil
		},
		"caches":      started.ready,
		"model":       func(*http.Request) error { return cluster.Ready() },
		"certificate": cert.ready,
		"webhook":     webhooks.Ready,
	}
	err := errors.Join(mgr.Add(started), mgr.AddHealthzCheck("ping", healthz.Ping), registry.Register(readyMetric(checks)))
	for name, check := range checks {
		err = errors.Join(err, mgr.AddReadyzCheck(name, told(check, log.WithValues("check", name))))
	}
	if err != nil {
		return fmt.Errorf("cannot add health checks: %w", err)
	}
	return nil
}

// told logs the reason when a check begins to fail or fails for another reason, and when it passes again: the answer to a
// probe withholds it.
func told(check healthz.Checker, log logr.Logger) healthz.Checker {
	var mu sync.Mutex
	before := ""
	return func(r *http.Request) error {
		err := check(r)
		now := ""
		if err != nil {
			now = err.Error()
		}
		mu.Lock()
		defer mu.Unlock()
		switch {
		case now == before:
		case err != nil:
			log.Info("not ready", "reason", now)
		default:
			log.Info("ready")
		}
		before = now
		return err
	}
}

// readyMetric is 1 while every check passes. A replica that is not ready answers for its metrics all the same, so that its
// being up tells nobody whether requests are answered.
func readyMetric(checks map[string]healthz.Checker) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "meshwarden_ready",
		Help: "Whether this replica is ready to answer admission requests: 1 or 0.",
	}, func() float64 {
		for _, check := range checks {
			if check(nil) != nil {
				return 0
			}
		}
		return 1
	})
}

// startedFlag is set once the manager has synced its caches: it starts such parts only then.
type startedFlag struct{ set atomic.Bool }

// Start implements manager.Runnable.
func (f *startedFlag) Start(context.Context) error {
	f.set.Store(true)
	return nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (f *startedFlag) NeedLeaderElection() bool {
	return false
}

func (f *startedFlag) ready(*http.Request) error {
	if !f.set.Load() {
		return errors.New("the caches of namespaces and network policies are not synced yet")
	}
	return nil
}
