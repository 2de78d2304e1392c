//go:build linux

package main

import (
	"fmt"
	"strings"
	"time"
)

// What is wanted beside CoreDNS with its cache, whose cache is stale for up to half a minute.
const (
	rateGoal        = 2.3
	foreignRateGoal = 1.0
	costGoal        = 0.3
	closedGoal      = 1.0
	openGoal        = 0.5

	visibleMedian = 1650 * time.Microsecond
	visibleWorst  = 10 * time.Millisecond
	largeStart    = 2 * time.Second
	largeVisible  = 50 * time.Millisecond
)

func (r dnsResults) write(b *strings.Builder) {
	if len(r.questions) == 0 {
		return
	}
	fmt.Fprintf(b, `
## The nameserver beside CoreDNS and NSD

Medians of %d rounds, the servers in turn, all on loopback and on the same cores as who asks: queries per second and processor time per
query while dnsperf asks as fast as it can (%s), which takes a core itself; the latency that 99 %% do not exceed with %d clients
that ask as soon as they are answered, and at %d queries per second. CoreDNS %s has the same records, through its etcd plugin and
its cache, which makes it answer what was true up to 30 s ago; NSD has them in a file. The ratio is to CoreDNS.

| question | | skydns | CoreDNS, cached | NSD | ratio | goal | met |
|---|---|---|---|---|---|---|---|
`, r.rounds, dnsperfArgs, clients, fixedRate, coreDNSVersion)
	for _, q := range r.questions {
		q.write(b)
	}
	fmt.Fprint(b, "\n| from the start of a write until it is answered | median | 99 % | worst | goal | met |\n|---|---|---|---|---|---|\n")
	for i, v := range r.visible {
		goal, met := "", ""
		if i == 0 {
			goal = fmt.Sprintf("median ≤ %s, worst < %s", fine(visibleMedian), fine(visibleWorst))
			met = yes(v.took.median() <= visibleMedian && v.took.worst() < visibleWorst)
		}
		writeVisible(b, v.name, v.took, goal, met)
	}
	writeVisible(b, fmt.Sprintf("skydns with %d records", largeCount), r.large.visible,
		"99 % ≤ "+fine(largeVisible), yes(r.large.visible.quantile(0.99) <= largeVisible))
	fmt.Fprintf(b, "\nWith %d records skydns answers %s after its start (goal ≤ %s: %s), and takes %s.\n", largeCount,
		text(r.large.start.median()), text(largeStart), yes(r.large.start.median() <= largeStart), mebibytes(r.large.memory))
}

func writeVisible(b *strings.Builder, what string, took samples, goal, met string) {
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", what, fine(took.median()), fine(took.quantile(0.99)), fine(took.worst()), goal, met)
}

// write writes the rows of one question.
func (q dnsQuestion) write(b *strings.Builder) {
	rate, cost, closed, open := rateGoal, costGoal, closedGoal, openGoal
	if q.foreign {
		rate, cost, closed, open = foreignRateGoal, 0, 0, 0
	}
	type row struct {
		what  string
		value func(dnsFigures) float64
		text  string
		goal  float64
		least bool // the goal is the least, else the most
	}
	for i, row := range []row{
		{"queries per second", func(f dnsFigures) float64 { return f.perSecond }, "%.0f", rate, true},
		{"processor time", func(f dnsFigures) float64 { return f.each.Seconds() * 1e6 }, "%.1f µs", cost, false},
		{fmt.Sprintf("99 %%, %d clients", clients), func(f dnsFigures) float64 { return f.closed99.Seconds() * 1e3 }, "%.2f ms", closed, false},
		{fmt.Sprintf("99 %%, %d/s", fixedRate), func(f dnsFigures) float64 { return f.open99.Seconds() * 1e3 }, "%.2f ms", open, false},
	} {
		what := ""
		if i == 0 {
			what = q.what
		}
		fmt.Fprintf(b, "| %s | %s |", what, row.what)
		for _, f := range q.figures {
			if f.perSecond == 0 {
				fmt.Fprint(b, " – |")
				continue
			}
			fmt.Fprintf(b, " "+row.text+" |", row.value(f))
		}
		ratio := row.value(q.figures[0]) / row.value(q.figures[1])
		asked, met := verdict(ratio, row.goal)
		if row.least {
			asked, met = fmt.Sprintf("≥ %.2f", row.goal), yes(ratio >= row.goal)
		}
		fmt.Fprintf(b, " %.2f | %s | %s |\n", ratio, asked, met)
	}
}
