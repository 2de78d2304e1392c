package store

import (
	"errors"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what a store does. Stores with one registry share them.
type metrics struct {
	requests *prometheus.HistogramVec
	retries  prometheus.Counter
	relists  *prometheus.CounterVec
}

// newMetrics registers the metrics, unless registry is nil.
func newMetrics(registry prometheus.Registerer) (m metrics, err error) {
	m = metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dokkaa_store_request_seconds", Help: "Duration of single tries of requests to etcd.",
			Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10},
		}, []string{"method", "outcome"}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dokkaa_store_retries_total", Help: "Requests repeated after every endpoint failed.",
		}),
		relists: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dokkaa_store_relists_total", Help: "Mirrored directories read as a whole.",
		}, []string{"dir"}),
	}
	if registry == nil {
		return m, nil
	}
	var errs [3]error
	m.requests, errs[0] = register(registry, m.requests)
	m.retries, errs[1] = register(registry, m.retries)
	m.relists, errs[2] = register(registry, m.relists)
	return m, errors.Join(errs[:]...)
}

func register[C prometheus.Collector](registry prometheus.Registerer, c C) (C, error) {
	err := registry.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if existing, ok := already.ExistingCollector.(C); ok {
			return existing, nil
		}
	}
	return c, err
}

func (m metrics) observe(method string, started time.Time, err error) {
	outcome := "answered"
	if errors.Is(err, ErrUnavailable) {
		outcome = "failed"
	}
	m.requests.WithLabelValues(strings.ToLower(method), outcome).Observe(time.Since(started).Seconds())
}
