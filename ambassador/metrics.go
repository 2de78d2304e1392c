package ambassador

import "github.com/prometheus/client_golang/prometheus"

// metrics is what the ambassador counts.
type metrics struct {
	accepted   prometheus.Counter
	refused    *prometheus.CounterVec // by reason
	open       prometheus.Gauge
	flows      prometheus.Counter // of datagrams
	openFlows  prometheus.Gauge
	up, down   prometheus.Counter // bytes
	dialErrors prometheus.Counter
	dnsErrors  prometheus.Counter
	listErrors prometheus.Counter
	ports      *prometheus.GaugeVec // by state
}

func newMetrics(registry prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "dokkaa_ambassador_" + name, Help: help})
	}
	m := &metrics{
		accepted: counter("connections_total", "Connections of containers that were accepted."),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dokkaa_ambassador_refused_total", Help: "Connections that were closed without a byte."}, []string{"reason"}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dokkaa_ambassador_open_connections", Help: "Connections of containers that are open."}),
		flows: counter("flows_total", "Flows of datagrams of containers that began."),
		openFlows: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dokkaa_ambassador_open_flows", Help: "Flows of datagrams of containers that are open."}),
		dialErrors: counter("dial_errors_total", "Backends that could not be dialled."),
		dnsErrors:  counter("dns_errors_total", "Questions that the name server did not answer."),
		listErrors: counter("docker_errors_total", "Listings of containers that failed."),
	}
	m.ports = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "dokkaa_ambassador_ports",
		Help: "Ports that links name: open, taken by another process, or outside of those to listen at."}, []string{"state"})
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dokkaa_ambassador_bytes_total", Help: "Bytes that were carried: up to the backend, down to the container."}, []string{"direction"})
	m.up, m.down = bytes.WithLabelValues("up"), bytes.WithLabelValues("down")
	registry.MustRegister(m.accepted, m.refused, m.open, m.flows, m.openFlows, bytes, m.dialErrors, m.dnsErrors, m.listErrors, m.ports)
	return m
}
