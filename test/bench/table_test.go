//go:build linux

package main

import (
	"strings"
	"testing"
	"time"
)

func TestDuels(t *testing.T) {
	const ms = time.Millisecond
	r := results{rounds: 3, duels: []duel{
		{what: "start", took: samples{120 * ms, 110 * ms, 200 * ms}, rivals: []rival{
			{name: "one", took: samples{100 * ms}, goal: 1.15, why: "it is slow"}, {name: "other", took: samples{60 * ms, 40 * ms, 50 * ms}}}},
		{what: "stop", took: samples{90 * ms}, rivals: []rival{{name: "one", took: samples{100 * ms}, goal: 1, why: "never"}}},
		{what: "scale", took: samples{300 * ms}, rivals: []rival{{name: "one", took: samples{100 * ms}, goal: 1, why: "it is slow"}}},
	}}
	var b strings.Builder
	r.writeDuels(&b)
	for _, want := range []string{
		"| start | 120 ms [110 ms … 200 ms] | one | 100 ms | 1.20 | ≤ 1.15 | **no** |\n",
		"|  |  | other | 50 ms [40 ms … 60 ms] | 2.40 |  |  |\n",
		"| stop | 90 ms | one | 100 ms | 0.90 | ≤ 1.00 | yes |\n",
		"Where a goal was missed:\n\n- start, beside one; scale, beside one: it is slow.\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("not there: %s", want)
		}
	}
	if strings.Contains(b.String(), "never") {
		t.Error("a reason is given for a goal that was met")
	}
	if t.Failed() {
		t.Log(b.String())
	}
}
