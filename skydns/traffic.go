package skydns

import (
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// system is the part of the server that answered, in SkyDNS's words.
type system uint8

const (
	auth system = iota
	recursive
	reverse
	stub
	systems
)

var systemNames = [systems]string{"auth", "recursive", "reverse", "stub"}

// Causes of errors in SkyDNS's words.
const (
	causeNXDomain = iota
	causeTruncated
	causeRefused
	causeServFail
	causeOverflow
	causes
)

var causeNames = [causes]string{"nxdomain", "truncated", "refused", "servfail", "overflow"}

// countedTypes are the types that are asked for in earnest; the rest share one label, so that a
// client cannot make up 65536 time series.
var countedTypes = [...]uint16{
	dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeCNAME, dns.TypeTXT, dns.TypeMX, dns.TypeNS,
	dns.TypeSOA, dns.TypePTR, dns.TypeHTTPS, dns.TypeANY,
}

const (
	otherType  = len(countedTypes)
	otherRcode = dns.RcodeNotZone + 1
)

// traffic counts replies, for every query and therefore without locks, look-ups and allocations.
type traffic struct {
	replies [otherType + 1][otherRcode + 1]atomic.Uint64
	systems [systems]struct {
		seconds, size histogram
		errors        [causes]atomic.Uint64
	}
}

var (
	secondBounds = []float64{.001, .003, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	sizeBounds   = []float64{100, 512, 1024, 1500, 2048, 4096, 8192, 65536}
)

// quickTime is what a reply takes that the goroutine which reads the packets gives itself: a few
// microseconds, which is not worth two looks at the clock.
const quickTime = time.Microsecond

// note counts a reply as it is sent.
func (t *traffic) note(by system, qtype uint16, rcode int, wire []byte, took time.Duration) {
	t.replies[typeIndex(qtype)][min(uint(rcode), otherRcode)].Add(1)
	s := &t.systems[by]
	s.seconds.observe(secondBounds, took.Seconds(), uint64(took))
	s.size.observe(sizeBounds, float64(len(wire)), uint64(len(wire)))
	switch rcode {
	case dns.RcodeNameError:
		s.errors[causeNXDomain].Add(1)
	case dns.RcodeRefused:
		s.errors[causeRefused].Add(1)
	case dns.RcodeServerFailure:
		s.errors[causeServFail].Add(1)
	}
	if len(wire) > 2 && wire[2]&0x02 != 0 {
		s.errors[causeTruncated].Add(1)
	}
}

func typeIndex(qtype uint16) int {
	for i, counted := range countedTypes {
		if counted == qtype {
			return i
		}
	}
	return otherType
}

// histogram counts values by size.
type histogram struct {
	buckets [16]atomic.Uint64 // the last one that is used is for all above the bounds
	sum     atomic.Uint64
}

func (h *histogram) observe(bounds []float64, value float64, exact uint64) {
	i := 0
	for i < len(bounds) && value > bounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(exact)
}

// collect sends what was counted as a metric. unit is what the exact values are of.
func (h *histogram) collect(to chan<- prometheus.Metric, desc *prometheus.Desc, bounds []float64, unit float64, labels ...string) {
	cumulated, count := make(map[float64]uint64, len(bounds)), uint64(0)
	for i, bound := range bounds {
		count += h.buckets[i].Load()
		cumulated[bound] = count
	}
	count += h.buckets[len(bounds)].Load()
	if count > 0 {
		to <- prometheus.MustNewConstHistogram(desc, count, float64(h.sum.Load())*unit, cumulated, labels...)
	}
}

// trafficCollector gives what was counted to Prometheus: under our names, and under SkyDNS's.
type trafficCollector struct {
	traffic *traffic
	misses  func() float64 // of the cache of foreign answers

	replies, requests, seconds, size, errors, cacheMisses *prometheus.Desc
}

// newTrafficCollector names SkyDNS's metrics as it does.
func newTrafficCollector(t *traffic, namespace, subsystem string, misses func() float64) *trafficCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, subsystem, name), help, labels, nil)
	}
	return &trafficCollector{
		traffic: t, misses: misses,
		replies:     prometheus.NewDesc("skydns_requests_total", "Queries answered, by type of the question and code of the reply.", []string{"type", "rcode"}, nil),
		requests:    desc("dns_request_count_total", "Queries answered, by the part of the server that did.", "system"),
		seconds:     desc("dns_request_duration_seconds", "How long answers took.", "system"),
		size:        desc("dns_response_size_bytes", "Size of the replies.", "system"),
		errors:      desc("dns_error_count_total", "Replies that say that something is wrong.", "system", "cause"),
		cacheMisses: desc("dns_cachemiss_count_total", "Foreign names that had to be asked for.", "cache"),
	}
}

// Describe says what Collect may send.
func (c *trafficCollector) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.replies, c.requests, c.seconds, c.size, c.errors, c.cacheMisses} {
		to <- desc
	}
}

// Collect sends what was counted up to now.
func (c *trafficCollector) Collect(to chan<- prometheus.Metric) {
	counter := func(desc *prometheus.Desc, n *atomic.Uint64, labels ...string) uint64 {
		v := n.Load()
		if v > 0 {
			to <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(v), labels...)
		}
		return v
	}
	for i := range c.traffic.replies {
		label := "other"
		if i < otherType {
			label = dns.TypeToString[countedTypes[i]]
		}
		for rcode := range c.traffic.replies[i] {
			counter(c.replies, &c.traffic.replies[i][rcode], label, rcodeLabel(rcode))
		}
	}
	for i, name := range systemNames {
		s := &c.traffic.systems[i]
		var requests uint64
		for b := range s.size.buckets {
			requests += s.size.buckets[b].Load()
		}
		to <- prometheus.MustNewConstMetric(c.requests, prometheus.CounterValue, float64(requests), name)
		s.seconds.collect(to, c.seconds, secondBounds, 1e-9, name)
		s.size.collect(to, c.size, sizeBounds, 1, name)
		for cause, label := range causeNames {
			counter(c.errors, &s.errors[cause], name, label)
		}
	}
	to <- prometheus.MustNewConstMetric(c.cacheMisses, prometheus.CounterValue, c.misses(), "response")
}

func rcodeLabel(rcode int) string {
	if name, known := dns.RcodeToString[rcode]; known && rcode < otherRcode {
		return name
	}
	return "other"
}
