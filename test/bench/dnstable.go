//go:build linux

package main

import (
	"fmt"
	"slices"
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
its cache, which makes it answer what was true up to 30 s ago; NSD has them in a file. The ratio is that to CoreDNS, the median of those of the rounds.

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
	for i, row := range []dnsRow{
		{"queries per second", func(f dnsFigures) float64 { return f.perSecond }, "%.0f", rate, true},
		{"processor time", func(f dnsFigures) float64 { return f.each.Seconds() * 1e6 }, "%.1f µs", cost, false},
		{fmt.Sprintf("99 %%, %d clients", clients), func(f dnsFigures) float64 { return f.closed99.Seconds() * 1e3 }, "%.2f ms", closed, false},
		{fmt.Sprintf("99 %%, %d/s", fixedRate), func(f dnsFigures) float64 { return f.open99.Seconds() * 1e3 }, "%.2f ms", open, false},
	} {
		what := ""
		if i == 0 {
			what = q.what
		}
		fmt.Fprintf(b, "| %s | %s |%s\n", what, row.what, row.text(q.rounds))
	}
}

// dnsRow is a figure of all servers.
type dnsRow struct {
	what   string
	value  func(dnsFigures) float64
	format string
	goal   float64 // of the ratio; 0: it is only told
	least  bool    // the goal is the least, else the most
}

// text is the medians of the servers, and that of the ratios of each round: what else the machine
// did in a round was the same for both.
func (row dnsRow) text(rounds [][]dnsFigures) string {
	var b strings.Builder
	for i := range 3 {
		if i == len(rounds) {
			b.WriteString(" – |")
			continue
		}
		var values []float64
		for _, f := range rounds[i] {
			values = append(values, row.value(f))
		}
		fmt.Fprintf(&b, " "+row.format+" |", middle(values))
	}
	var ratios []float64
	for round := range rounds[0] {
		ratios = append(ratios, row.value(rounds[0][round])/row.value(rounds[1][round]))
	}
	ratio := middle(ratios)
	asked, met := verdict(ratio, row.goal)
	if row.least {
		asked, met = fmt.Sprintf("≥ %.2f", row.goal), yes(ratio >= row.goal)
	}
	fmt.Fprintf(&b, " %.2f | %s | %s |", ratio, asked, met)
	return b.String()
}

// middle is the median.
func middle(values []float64) float64 {
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}
