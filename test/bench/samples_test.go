//go:build linux

package main

import (
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	ten := samples{9, 3, 7, 1, 10, 2, 8, 4, 6, 5}
	for name, test := range map[string]struct {
		s     samples
		share float64
		want  time.Duration
	}{
		"none":             {nil, 0.5, 0},
		"one":              {samples{3}, 0.95, 3},
		"median of ten":    {ten, 0.5, 5},
		"median of three":  {samples{3, 1, 2}, 0.5, 2},
		"95 % of ten":      {ten, 0.95, 10},
		"95 % of fifteen":  {append(samples{15, 14, 13, 12, 11}, ten...), 0.95, 15},
		"90 % of ten":      {ten, 0.9, 9},
		"the worst of ten": {ten, 1, 10},
	} {
		if got := test.s.quantile(test.share); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

func TestText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "–", 12_300 * time.Microsecond: "12 ms", 999 * time.Millisecond: "999 ms", 1234 * time.Millisecond: "1.23 s", 20 * time.Second: "20 s",
	} {
		if got := text(d); got != want {
			t.Errorf("%d: %s, want %s", d, got, want)
		}
	}
}
