package gateway

import "github.com/prometheus/client_golang/prometheus"

// metrics is what the gateway counts.
type metrics struct {
	requests     *prometheus.CounterVec // by method and status
	refused      *prometheus.CounterVec // by status
	open         prometheus.Gauge
	memberErrors prometheus.Counter
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dokkaa_gateway_requests_total", Help: "Requests that etcd answered."}, []string{"method", "status"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dokkaa_gateway_refused_total", Help: "Requests that were not let through."}, []string{"status"}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dokkaa_gateway_open_requests", Help: "Requests under way, long polls among them."}),
		memberErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dokkaa_gateway_member_errors_total", Help: "Requests that a member of etcd did not answer."}),
	}
	registry.MustRegister(m.requests, m.refused, m.open, m.memberErrors)
	return m
}
