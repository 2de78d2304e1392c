package conductor

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// schedulerMetrics are of this process, whether it schedules now or not.
type schedulerMetrics struct {
	leading  prometheus.Gauge
	planning prometheus.Histogram
	changes  *prometheus.CounterVec
}

func newSchedulerMetrics(registry prometheus.Registerer) schedulerMetrics {
	factory := promauto.With(registry)
	return schedulerMetrics{
		leading: factory.NewGauge(prometheus.GaugeOpts{Name: "dokkaa_scheduler_leading",
			Help: "1 while this host schedules."}),
		planning: factory.NewHistogram(prometheus.HistogramOpts{Name: "dokkaa_scheduler_planning_seconds",
			Help: "Time that planning a pass took.", Buckets: prometheus.ExponentialBuckets(0.0001, 4, 8)}),
		changes: factory.NewCounterVec(prometheus.CounterOpts{Name: "dokkaa_scheduler_changes_total",
			Help: "Keys that the scheduler changed, by how."}, []string{"kind"}),
	}
}
