package skydns

import (
	"errors"
	"time"

	"github.com/dokkaa/dokkaa/skydns/forward"
	"github.com/dokkaa/dokkaa/skydns/limit"
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	traffic  traffic
	forwards *prometheus.HistogramVec
	dropped  prometheus.Counter
	limited  [limit.Drop + 1]prometheus.Counter
}

// register registers the server's metrics.
func (s *Server) register(registry prometheus.Registerer) error {
	m := &s.metrics
	m.forwards = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "skydns_forward_duration_seconds", Help: "How long other nameservers took, by result.",
		Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 2, 4},
	}, []string{"result"})
	m.dropped = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "skydns_queries_dropped_total", Help: "Queries dropped, as too many others were in hand.",
	})
	limited := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "skydns_replies_limited_total", Help: "Replies that were too many for a client's network, by what was done with them.",
	}, []string{"verdict"})
	m.limited[limit.Truncate], m.limited[limit.Drop] = limited.WithLabelValues("truncated"), limited.WithLabelValues("dropped")
	stats := s.forwarder.Stats()
	misses := func() float64 { return float64(stats.Misses.Load()) }
	return errors.Join(
		registry.Register(newTrafficCollector(&m.traffic, s.config.MetricsNamespace, s.config.MetricsSubsystem, misses)),
		registry.Register(m.dropped),
		registry.Register(limited),
		registry.Register(m.forwards),
		registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "skydns_records", Help: "Records in memory.",
		}, s.countRecords)),
		registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "skydns_snapshot_age_seconds", Help: "How long ago the records in memory were known to be those of the store.",
		}, s.snapshotAge)),
		registerForwarding(registry, s.forwarder),
	)
}

// registerForwarding registers what the forwarder counts.
func registerForwarding(registry prometheus.Registerer, f *forward.Forwarder) error {
	stats := f.Stats()
	var errs []error
	for result, count := range map[string]func() uint64{
		"fresh": stats.Hits.Load, "stale": stats.Stale.Load, "asked": stats.Misses.Load,
	} {
		errs = append(errs, registry.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "skydns_foreign_queries_total", Help: "Queries for foreign names, by where the answer came from.",
			ConstLabels: prometheus.Labels{"from": result},
		}, func() float64 { return float64(count()) })))
	}
	errs = append(errs,
		registry.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "skydns_forward_retries_total", Help: "Questions to other nameservers that one of them did not answer.",
		}, func() float64 { return float64(stats.Retries.Load()) })),
		registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "skydns_foreign_answers", Help: "Answers of other nameservers that are kept.",
		}, func() float64 { return float64(f.Entries()) })),
	)
	return errors.Join(errs...)
}

func (m *metrics) forward(took time.Duration, err error) {
	result := "answered"
	if err != nil {
		result = "failed"
	}
	m.forwards.WithLabelValues(result).Observe(took.Seconds())
}
