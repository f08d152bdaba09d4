package informer

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/meshwarden/meshwarden/pkg/mesh"
)

func lagHistogram() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "meshwarden_model_lag_seconds",
		Help:    "Seconds from the admission of a change by this replica until its model holds the change.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
	})
}

// collector reads the sizes when they are asked for, so that nothing has to keep gauges in step.
type collector struct {
	model   *mesh.Model
	cluster *Cluster

	objects, synced, unparsable *prometheus.Desc
}

func newCollector(m *mesh.Model, c *Cluster) *collector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"kind"}, nil)
	}
	return &collector{
		model: m, cluster: c,
		objects: desc("meshwarden_model_objects", "Objects in the model, by kind."),
		synced: desc("meshwarden_model_synced",
			"1 when the model can be relied on for the kind, 0 while its objects are not read yet."),
		unparsable: desc("meshwarden_unparsable_objects",
			"Stored objects that cannot be parsed and are left out of every judgement, by kind."),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.objects
	descs <- c.synced
	descs <- c.unparsable
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	for _, i := range c.cluster.informers {
		gauge := func(d *prometheus.Desc, v float64) {
			metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, string(i.kind.kind))
		}
		if s, ok := c.cluster.stores[i.kind.kind]; ok {
			gauge(c.objects, float64(c.model.Count(i.kind.kind)))
			gauge(c.unparsable, float64(len(s.all())))
		}
		if _, err := i.settled(false); err == nil {
			gauge(c.synced, 1)
		} else {
			gauge(c.synced, 0)
		}
	}
}
