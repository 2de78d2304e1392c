//go:build linux

package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// samples are the times that one thing took.
type samples []time.Duration

// quantile is the smallest sample that at least the given share of all do not exceed.
func (s samples) quantile(share float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	i := int(math.Ceil(share*float64(len(s)))) - 1
	return sorted[max(i, 0)]
}

func (s samples) median() time.Duration { return s.quantile(0.5) }
func (s samples) worst() time.Duration  { return s.quantile(1) }

// text is a time to be read by people.
func text(d time.Duration) string {
	switch {
	case d == 0:
		return "–"
	case d%time.Second == 0:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
