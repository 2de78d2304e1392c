package ledger

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Names of the metrics, all with app and service.
var (
	ofBackend = []string{"app", "service", "backend"}

	openDesc    = describe("backend_open_connections", "Connections that are open to the backend.", ofBackend...)
	openedDesc  = describe("backend_connections_total", "Connections that the backend accepted.", ofBackend...)
	failedDesc  = describe("backend_dial_errors_total", "Connections that the backend did not accept.", ofBackend...)
	bytesDesc   = describe("backend_bytes_total", "Bytes that were carried: up to the backend, down to the container.", append(ofBackend, "direction")...)
	dialDesc    = describe("backend_dial_seconds", "How long the backend took to accept a connection.", ofBackend...)
	lastedDesc  = describe("backend_connection_seconds", "How long connections lasted that have ended.", ofBackend...)
	refusedDesc = describe("service_refused_total", "Connections to the service that were closed without a byte.", "app", "service", "reason")
	waitingDesc = describe("service_waiting_connections", "Connections that wait for a backend.", "app", "service")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("dokkaa_ambassador_"+name, help, labels, nil)
}

// Describe is for Prometheus.
func (l *Ledger) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{openDesc, openedDesc, failedDesc, bytesDesc, dialDesc, lastedDesc, refusedDesc, waitingDesc} {
		to <- desc
	}
}

// Collect is for Prometheus, too.
func (l *Ledger) Collect(to chan<- prometheus.Metric) {
	for _, s := range l.all() {
		app, service := s.app, s.name
		refused, _, backends := s.read()
		for reason, n := range refused {
			to <- counter(refusedDesc, n, app, service, reason)
		}
		to <- prometheus.MustNewConstMetric(waitingDesc, prometheus.GaugeValue, float64(s.waiting.Load()), app, service)
		for _, b := range backends {
			b.collect(to, app, service)
		}
	}
}

func (b *Backend) collect(to chan<- prometheus.Metric, app, service string) {
	to <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(b.Open()), app, service, b.name)
	to <- counter(openedDesc, b.allOpened(), app, service, b.name)
	to <- counter(failedDesc, b.failed.Load(), app, service, b.name)
	to <- counter(bytesDesc, b.up.Load(), app, service, b.name, "up")
	to <- counter(bytesDesc, b.down.Load(), app, service, b.name, "down")
	for _, h := range []struct {
		desc   *prometheus.Desc
		of     *histogram
		bounds []time.Duration
	}{{dialDesc, &b.dial, dialBounds[:]}, {lastedDesc, &b.lasted, lastedBounds[:]}} {
		count, sum, buckets := h.of.read(h.bounds)
		to <- prometheus.MustNewConstHistogram(h.desc, count, sum, buckets, app, service, b.name)
	}
}

func counter(desc *prometheus.Desc, value uint64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value), labels...)
}
