package version

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// RegisterMetric registers meshwarden_build_info, which is 1 and tells by its labels what runs.
func RegisterMetric(r prometheus.Registerer) error {
	i := Get()
	err := r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "meshwarden_build_info",
		Help:        "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": i.Version, "commit": i.Commit, "goversion": i.GoVersion},
	}, func() float64 { return 1 }))
	if err != nil {
		return fmt.Errorf("cannot register the metric of the version: %w", err)
	}
	return nil
}
