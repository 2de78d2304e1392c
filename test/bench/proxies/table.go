//go:build linux

package proxies

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// text is one measurement.
func (f figures) text(l load) string {
	s := fmt.Sprintf("%s, %s", rateText(f.Rate, l), costText(f.Each, l))
	if f.P99 > 0 {
		s += fmt.Sprintf(", 99 %% %.2f ms", f.P99.Seconds()*1e3)
	}
	return s
}

func rateText(rate float64, l load) string {
	if l.unit == "Gbit/s" {
		return fmt.Sprintf("%.1f Gbit/s", rate/1e9)
	}
	return fmt.Sprintf("%.0f/s", rate)
}

func costText(each time.Duration, l load) string {
	if l.unit == "Gbit/s" {
		return fmt.Sprintf("%.2f s/GB", each.Seconds())
	}
	return fmt.Sprintf("%.1f µs", each.Seconds()*1e6)
}

// median is that of a figure over the rounds.
func median(rounds []figures, of func(figures) float64) float64 {
	var all []float64
	for _, f := range rounds {
		all = append(all, of(f))
	}
	return middle(all)
}

// ratio is the median of the rounds' ratios.
func ratio(ours, theirs []figures, of func(figures) float64) float64 {
	var all []float64
	for i := range ours {
		all = append(all, of(ours[i])/of(theirs[i]))
	}
	return middle(all)
}

func middle(all []float64) float64 {
	slices.Sort(all)
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}

func rateOf(f figures) float64 { return f.Rate }
func costOf(f figures) float64 { return float64(f.Each) }
func p99Of(f figures) float64  { return float64(f.P99) }

// Write writes the section of the report.
func (r Results) Write(b *strings.Builder) {
	if len(r.Loads) > 0 {
		r.writeLoads(b)
	}
	if len(r.Idle) > 0 {
		r.writeIdle(b)
	}
	if len(r.Tables) > 0 {
		r.writeTables(b)
	}
	if len(r.Bridged) > 0 {
		r.writeBridged(b)
	}
}

func (r Results) writeLoads(b *strings.Builder) {
	fmt.Fprintf(b, `
## The ambassador beside HAProxy and nginx

Medians of %d rounds of %v each, the proxies in turn, all on loopback and on the same cores as who asks and who answers. The
ambassador finds out whose each connection is, among %d containers, and where to, by SRV; the others forward to a fixed address. HAProxy
has a thread for each core, as is its default, and decides by itself whether to splice (`+"`option splice-auto`"+`); with 1 MiB pipes it is told to, always.
The simple form is the ambassador on package net. Processor time is the proxy's alone, and what it moves for its peers. Ratios are to HAProxy, medians of those of the rounds.

| load | |`, r.Rounds, r.While, callerCount)
	for _, name := range r.Names {
		fmt.Fprintf(b, " %s |", name)
	}
	fmt.Fprintf(b, " ratio | goal | met |\n|---|---|%s---|---|---|\n", strings.Repeat("---|", len(r.Names)))
	for _, l := range loads() {
		for _, result := range r.Loads {
			if result.Name == l.name {
				l.write(b, result.Rounds)
			}
		}
	}
}

func (l load) write(b *strings.Builder, all [][]figures) {
	what := l.name
	row := func(of func(figures) float64, text func(float64) string, goal float64, least bool, beside int, note string) {
		fmt.Fprintf(b, "| %s | %s |", what, note)
		what = ""
		for i, rounds := range all {
			if value := median(rounds, of); value == 0 || beside == 2 && i != 0 && i != 2 {
				b.WriteString(" – |")
			} else {
				fmt.Fprintf(b, " %s |", text(value))
			}
		}
		got := ratio(all[0], all[beside], of)
		sign, met := "≤", got <= goal
		if least {
			sign, met = "≥", got >= goal
		}
		verdict := "yes"
		if !met {
			verdict = "**no**"
		}
		fmt.Fprintf(b, " %.2f | %s %.2f | %s |\n", got, sign, goal, verdict)
	}
	rate := func(v float64) string { return rateText(v, l) }
	cost := func(v float64) string { return costText(time.Duration(v), l) }
	row(rateOf, rate, l.rate, true, 1, "rate")
	if l.rate1m > 0 {
		row(rateOf, rate, l.rate1m, true, 2, "beside 1 MiB pipes")
	}
	row(costOf, cost, l.cpu, false, 1, "processor time")
	if l.p99 > 0 {
		row(p99Of, func(v float64) string { return fmt.Sprintf("%.2f ms", v/1e6) }, l.p99, false, 1, "99 %")
	}
}

func (r Results) writeIdle(b *strings.Builder) {
	fmt.Fprintf(b, "\n%d connections that carried a byte each way are opened to each, just started, with at most 20,000 descriptors:\n\n"+
		"| | opened | descriptors each | memory each |\n|---|---|---|---|\n", idleConnections)
	for _, i := range r.Idle {
		fmt.Fprintf(b, "| %s | %d | %.1f | %.1f KiB |\n", i.Name, i.Opened, i.Descriptors, i.Memory/1024)
	}
}

func (r Results) writeTables(b *strings.Builder) {
	b.WriteString("\nNew connections, 16 at a time, by the size of the ambassador's tables (goal: within 5 %):\n\n| | rate | processor time | ratio |\n|---|---|---|---|\n")
	l := load{unit: "/s"}
	for _, t := range r.Tables {
		fmt.Fprintf(b, "| %s | %s | %s | %.2f |\n", t.Name, rateText(median(t.Rounds, rateOf), l),
			costText(time.Duration(median(t.Rounds, costOf)), l), ratio(t.Rounds, r.Tables[0].Rounds, rateOf))
	}
}

// kernelGoal is the least part of a direct connection's rate that the kernel path is to have.
const kernelGoal = 0.9

func (r Results) writeBridged(b *strings.Builder) {
	fmt.Fprintf(b, `
## The kernel path beside a direct connection

Medians of %d rounds of %v each, in turn. %d callers and the backends are in networks of their own, behind a bridge with Docker's rules;
a direct connection goes to the backend's own address, and so do the proxies', which on a real host pass Docker's translation too.
Ratios are to the direct connection, medians of those of the rounds.

| load | |`, r.Rounds, r.While, callerCount)
	for _, name := range r.BridgedNames {
		fmt.Fprintf(b, " %s |", name)
	}
	fmt.Fprintf(b, " goal | met |\n|---|---|%s---|---|\n", strings.Repeat("---|", len(r.BridgedNames)))
	for _, l := range loads() {
		for _, result := range r.Bridged {
			if result.Name == l.name {
				l.writeBridged(b, result.Rounds)
			}
		}
	}
}

func (l load) writeBridged(b *strings.Builder, all [][]figures) {
	fmt.Fprintf(b, "| %s | rate |", l.name)
	for _, rounds := range all {
		fmt.Fprintf(b, " %s |", rateText(median(rounds, rateOf), l))
	}
	fmt.Fprint(b, " | |\n| | ratio | 1 |")
	for _, rounds := range all[1:] {
		fmt.Fprintf(b, " %.2f |", ratio(rounds, all[0], rateOf))
	}
	verdict := "yes"
	if ratio(all[1], all[0], rateOf) < kernelGoal {
		verdict = "**no**"
	}
	fmt.Fprintf(b, " ≥ %.2f | %s |\n| | processor time | – |", kernelGoal, verdict)
	for _, rounds := range all[1:] {
		fmt.Fprintf(b, " %s |", costText(time.Duration(median(rounds, costOf)), l))
	}
	b.WriteString(" | |\n")
	if l.p99 == 0 {
		return
	}
	b.WriteString("| | 99 % |")
	for _, rounds := range all {
		fmt.Fprintf(b, " %.2f ms |", median(rounds, p99Of)/1e6)
	}
	b.WriteString(" | |\n")
}
