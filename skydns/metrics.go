package skydns

import (
	"errors"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	forwards *prometheus.HistogramVec
	dropped  prometheus.Counter
}

// newMetrics registers the server's metrics. records and age are asked whenever somebody reads
// the metrics.
func newMetrics(registry prometheus.Registerer, records, age func() float64) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "skydns_requests_total", Help: "Queries answered, by type of the question and code of the reply.",
		}, []string{"type", "rcode"}),
		forwards: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "skydns_forward_duration_seconds", Help: "How long other nameservers took, by result.",
			Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 2, 4},
		}, []string{"result"}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "skydns_queries_dropped_total", Help: "Queries dropped, as too many others were in hand.",
		}),
	}
	return m, errors.Join(
		registry.Register(m.dropped),
		registry.Register(m.requests),
		registry.Register(m.forwards),
		registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "skydns_records", Help: "Records in memory.",
		}, records)),
		registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "skydns_snapshot_age_seconds", Help: "How long ago the records in memory were known to be those of the store.",
		}, age)),
	)
}

func (m *metrics) request(req *dns.Msg, rcode int) {
	label := "none"
	if len(req.Question) == 1 {
		label = typeLabel(req.Question[0].Qtype)
	}
	m.requests.WithLabelValues(label, rcodeLabel(rcode)).Inc()
}

func (m *metrics) forward(took time.Duration, err error) {
	result := "answered"
	if err != nil {
		result = "failed"
	}
	m.forwards.WithLabelValues(result).Observe(took.Seconds())
}

// typeLabel names the types that are asked for in earnest; the rest share one label, so that
// a client cannot make up 65536 time series.
func typeLabel(t uint16) string {
	switch t {
	case dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeCNAME, dns.TypeTXT, dns.TypeMX, dns.TypeNS,
		dns.TypeSOA, dns.TypePTR, dns.TypeHTTPS, dns.TypeANY:
		return dns.TypeToString[t]
	}
	return "other"
}

func rcodeLabel(rcode int) string {
	if name, known := dns.RcodeToString[rcode]; known {
		return name
	}
	return "other"
}
