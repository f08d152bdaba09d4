package kubelet

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// probePeriod is how often a container is asked whether it has started and is ready. Most pods say more: tests would wait.
const probePeriod = 100 * time.Millisecond

// health is what the probes say about one run of a container.
type health struct {
	sandbox *Sandbox
	begin   time.Time
	// alive is when the liveness probe was last asked, misses how often it has failed since it last succeeded.
	alive  time.Time
	misses int32

	started, ready bool
	// failed says why the container is to be started anew.
	failed error
}

func newHealth(s *Sandbox) *health { return &health{sandbox: s, begin: time.Now()} }

// ask asks the probes that are due.
func (h *health) ask(ctx context.Context) {
	c := h.sandbox.Container
	if !h.started && c.StartupProbe != nil {
		if err := h.sandbox.Ask(ctx, c.StartupProbe); err != nil {
			patience := time.Duration(c.StartupProbe.InitialDelaySeconds+c.StartupProbe.FailureThreshold*c.StartupProbe.PeriodSeconds) * time.Second
			if time.Since(h.begin) > patience {
				h.failed = fmt.Errorf("startup probe failed: %w", err)
			}
			return
		}
	}
	h.started = true
	h.ready = c.ReadinessProbe == nil || h.sandbox.Ask(ctx, c.ReadinessProbe) == nil
	h.askLiveness(ctx, c.LivenessProbe)
}

// askLiveness asks as often as the pod says, so that a container gets as much time as it would in a cluster.
func (h *health) askLiveness(ctx context.Context, probe *corev1.Probe) {
	if probe == nil || time.Since(h.begin) < time.Duration(probe.InitialDelaySeconds)*time.Second ||
		time.Since(h.alive) < time.Duration(probe.PeriodSeconds)*time.Second {
		return
	}
	h.alive = time.Now()
	err := h.sandbox.Ask(ctx, probe)
	if err == nil {
		h.misses = 0
		return
	}
	if h.misses++; h.misses >= probe.FailureThreshold {
		h.failed = fmt.Errorf("liveness probe failed: %w", err)
	}
}
