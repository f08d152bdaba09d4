package audit

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// Metrics are the counts of findings on stored objects. Only the leader's are above zero.
type Metrics struct {
	standing *prometheus.GaugeVec
	found    *prometheus.CounterVec
}

// NewMetrics registers the metrics of the package.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		standing: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "meshwarden_stored_findings",
			Help: "Findings on stored objects as they stand, by rule and the action that admission would take. The leader counts.",
		}, []string{"rule", "action"}),
		found: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "meshwarden_stored_findings_total",
			Help: "New findings on stored objects since this replica became the leader, by rule.",
		}, []string{"rule"}),
	}
	for _, c := range []prometheus.Collector{m.standing, m.found} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("cannot register the metrics of re-evaluation: %w", err)
		}
	}
	return m, nil
}

func (m *Metrics) replaced(before map[string]policy.Finding, now []policy.Finding) {
	for _, f := range before {
		m.standing.WithLabelValues(f.Rule, string(f.Action)).Dec()
	}
	counted := map[string]bool{}
	for _, f := range now {
		if id := f.Identity(); !counted[id] {
			counted[id] = true
			m.standing.WithLabelValues(f.Rule, string(f.Action)).Inc()
		}
	}
}

func (m *Metrics) announced(f policy.Finding) {
	m.found.WithLabelValues(f.Rule).Inc()
}
