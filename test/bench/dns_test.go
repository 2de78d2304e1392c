//go:build linux

package main

import (
	"strings"
	"testing"
	"time"
)

func TestLatency(t *testing.T) {
	out := "Warning\n" + strings.Repeat("> NOERROR web.skydns.local SRV 0.000200\n", 98) + "> NOERROR web.skydns.local SRV 0.003000\n\n" +
		"Statistics:\n\n  Queries sent:         100\n  Queries lost:         1 (1.00%)\n"
	if got, err := latency(out); err != nil || got != 3*time.Millisecond {
		t.Errorf("99 %% are %v, %v, want 3 ms", got, err)
	}
	if got, err := latency(strings.ReplaceAll(out, "0.003000", "x")); err == nil {
		t.Errorf("a latency that is no number is read as %v", got)
	}
}

func TestDNSRow(t *testing.T) {
	rate := func(all ...float64) (rounds []dnsFigures) {
		for _, v := range all {
			rounds = append(rounds, dnsFigures{perSecond: v})
		}
		return rounds
	}
	row := dnsRow{"queries per second", func(f dnsFigures) float64 { return f.perSecond }, "%.0f", 2.3, true}
	if got, want := row.text([][]dnsFigures{rate(300, 10, 250), rate(100, 5, 100)}), " 250 | 100 | – | 2.50 | ≥ 2.30 | yes |"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	row.goal, row.least = 0, false
	if got, want := row.text([][]dnsFigures{rate(30), rate(100), rate(7)}), " 30 | 100 | 7 | 0.30 |  |  |"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
