package ledger

import (
	"sync/atomic"
	"time"
)

// dialBounds and lastedBounds are the upper ends of the histograms' buckets.
var (
	dialBounds = [...]time.Duration{250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 10 * time.Millisecond,
		50 * time.Millisecond, 250 * time.Millisecond, time.Second}
	lastedBounds = [...]time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second,
		time.Minute, 10 * time.Minute, time.Hour}
)

// histogram counts durations.
type histogram struct {
	buckets [9]atomic.Uint64 // the last one is for what is above all bounds
	sum     atomic.Int64     // nanoseconds
}

func (h *histogram) observe(d time.Duration, bounds []time.Duration) {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

func (h *histogram) count() (n uint64) {
	for i := range h.buckets {
		n += h.buckets[i].Load()
	}
	return n
}

// read returns the histogram as Prometheus has it: each bucket with all that are below it.
func (h *histogram) read(bounds []time.Duration) (count uint64, sum float64, upTo map[float64]uint64) {
	upTo = make(map[float64]uint64, len(bounds))
	for i, bound := range bounds {
		count += h.buckets[i].Load()
		upTo[bound.Seconds()] = count
	}
	count += h.buckets[len(bounds)].Load()
	return count, time.Duration(h.sum.Load()).Seconds(), upTo
}
