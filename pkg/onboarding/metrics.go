package onboarding

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// outcome is something that a reconciliation did or met; the value of the label
// "outcome" of meshwarden_onboarding_total.
type outcome string

const (
	// labelled and marked: a namespace was backfilled, with or without the label.
	labelled outcome = "labelled"
	marked   outcome = "marked"
	// waiting: the backfill cannot decide, because the time of the installation
	// is not known yet.
	waiting outcome = "waiting"

	policyCreated  outcome = "policy_created"
	policyRepaired outcome = "policy_repaired"
	policyRemoved  outcome = "policy_removed"
	// foreignPolicy: somebody else's policy has the name; counted once a policy.
	foreignPolicy outcome = "foreign_policy"

	// conflict: somebody wrote in between; the namespace is looked at again.
	conflict outcome = "conflict"
	// failed: the reconciliation ended with an error and is tried again.
	failed outcome = "error"
)

// metrics are what the controller counts.
type metrics struct {
	total *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{total: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "meshwarden_onboarding_total",
		Help: "What the onboarding controller did or met, by outcome.",
	}, []string{"outcome"})}
	// Each series starts at 0: a rate over a counter that appears with its first
	// event misses that event.
	for _, o := range []outcome{
		labelled, marked, waiting, policyCreated, policyRepaired, policyRemoved,
		foreignPolicy, conflict, failed,
	} {
		m.total.WithLabelValues(string(o))
	}
	if err := registerer.Register(m.total); err != nil {
		return nil, fmt.Errorf("registering the onboarding metrics: %w", err)
	}
	return m, nil
}

func (m *metrics) count(o outcome) { m.total.WithLabelValues(string(o)).Inc() }
