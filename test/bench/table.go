//go:build linux

package main

import (
	"fmt"
	"strings"
	"time"
)

// verdict tells what a goal asks for and whether it was met; 0 is none.
func verdict(ratio, goal float64) (asked, met string) {
	if goal == 0 {
		return "", ""
	}
	return fmt.Sprintf("≤ %.2f", goal), yes(ratio <= goal)
}

// spread is a median with the least and the greatest.
func (s samples) spread() string {
	if len(s) == 1 {
		return text(s[0])
	}
	return fmt.Sprintf("%s [%s … %s]", text(s.median()), text(s.quantile(0)), text(s.worst()))
}

func (r results) writeDuels(b *strings.Builder) {
	if len(r.duels) == 0 {
		return
	}
	fmt.Fprintf(b, `
## Beside Docker's swarm mode and the bare Engine

The demo's web server, its image being there already, through a manifest, as a service of Docker's swarm mode with a port published
in host mode, and by `+"`docker run -d -p`"+`: median [least … greatest] of %d rounds, of fewer where more is started, each round in
another order. *Serves* means a page from the published port; whom to ask is told by the Engine's event of the start.
The swarm has hosts like ours, all of them managers, and nothing to pull; with settings that are not named here, it is as Docker
makes it. The ratio is that of the medians.

| | cluster | | | ratio | goal | met |
|---|---|---|---|---|---|---|
`, r.rounds)
	var missed reasons
	for _, d := range r.duels {
		what, took := d.what, d.took.spread()
		for _, rival := range d.rivals {
			ratio := d.took.median().Seconds() / rival.took.median().Seconds()
			asked, met := verdict(ratio, rival.goal)
			fmt.Fprintf(b, "| %s | %s | %s | %s | %.2f | %s | %s |\n", what, took, rival.name, rival.took.spread(), ratio, asked, met)
			what, took = "", ""
			if rival.goal > 0 && ratio > rival.goal && rival.why != "" {
				missed.add(d.what+", beside "+rival.name, rival.why)
			}
		}
	}
	if r.load != nil {
		fmt.Fprintf(b, "\nDuring the cluster's updates a container with a link asked for the page every %s: %d requests, %d failed.\n",
			text(requestEvery), r.load.requests, r.load.failed)
		if r.load.failed > 0 {
			missed.add("no failed request", fmt.Sprintf("the last that failed said %q", r.load.last))
		}
	}
	missed.write(b)
}

// reasons are why goals were missed, each with the goals.
type reasons struct {
	order []string
	goals map[string][]string
}

func (r *reasons) add(goal, why string) {
	if r.goals == nil {
		r.goals = map[string][]string{}
	}
	if r.goals[why] == nil {
		r.order = append(r.order, why)
	}
	r.goals[why] = append(r.goals[why], goal)
}

func (r *reasons) write(b *strings.Builder) {
	if len(r.order) == 0 {
		return
	}
	fmt.Fprint(b, "\nWhere a goal was missed:\n\n")
	for _, why := range r.order {
		fmt.Fprintf(b, "- %s: %s.\n", strings.Join(r.goals[why], "; "), why)
	}
}

func (r results) writePaths(b *strings.Builder) {
	if len(r.paths.fromPut) == 0 {
		return
	}
	fmt.Fprintf(b, `
## From the key to the Engine

Until the conductor asks its host's Engine to make the container, on one host, %d times. The Engine refuses, so that nothing else
happens. On this way there are three writes in a row, each of them put on the disk and told to who watches before the next:
the manifest, its revision, and the slot that gives it to a host.

| | median | 99 %% | goal | met |
|---|---|---|---|---|
`, pathRounds)
	row := func(what string, s samples, goal, met string) {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", what, fine(s.median()), fine(s.quantile(0.99)), goal, met)
	}
	p := r.paths
	row("the manifest's PUT alone", p.put, "", "")
	row("from the start of the manifest's PUT", p.fromPut, "median ≤ 1.2 ms", yes(p.fromPut.median() <= 1200*time.Microsecond))
	row("from when another who watches it is told of the slot", p.fromEvent, "99 % ≤ 1 ms", yes(p.fromEvent.quantile(0.99) <= time.Millisecond))
}

// fine is a short time.
func fine(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1000) }
