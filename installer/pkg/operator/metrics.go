package operator

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
)

// metrics are those beside controller-runtime's own, which count passes, their outcomes and their time.
type metrics struct {
	healthy  *prometheus.GaugeVec
	repaired *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (metrics, error) {
	labels := []string{"namespace", "name"}
	m := metrics{
		healthy: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "meshwarden_istio_operator_healthy",
			Help: "Whether an IstioOperator's components are all as described and available: 1 or 0.",
		}, labels),
		repaired: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "meshwarden_istio_operator_repaired_objects_total",
			Help: "Objects that others had changed or deleted and that were put right.",
		}, labels),
	}
	for _, c := range []prometheus.Collector{m.healthy, m.repaired} {
		if err := r.Register(c); err != nil {
			return metrics{}, fmt.Errorf("register a metric: %w", err)
		}
	}
	return m, nil
}

// report sets the gauge.
func (m metrics) report(o types.NamespacedName, isHealthy bool) {
	value := 0.0
	if isHealthy {
		value = 1
	}
	m.healthy.WithLabelValues(o.Namespace, o.Name).Set(value)
	m.repaired.WithLabelValues(o.Namespace, o.Name) // a counter that is there from the start can be alerted on
}

// forget drops what is told of an IstioOperator that is gone.
func (m metrics) forget(o types.NamespacedName) {
	m.healthy.DeleteLabelValues(o.Namespace, o.Name)
	m.repaired.DeleteLabelValues(o.Namespace, o.Name)
}
