//go:build linux

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// markdown is the report, as it stands in docs/benchmarks.md.
func (r results) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Benchmarks

Written by `+"`make bench`"+` (test/bench), which needs root and half an hour; run it again to have the numbers of your
own machine. It makes a cluster of virtual hosts, and a swarm to compare it with, measures, and removes them. All that is compared
was measured in one run, in turn, by Docker Engines of one version.

%s
`, r.machine.markdown())
	r.writeDuels(&b)
	r.writePaths(&b)
	r.writeBounds(&b)
	r.writeRest(&b)
	r.dns.write(&b)
	r.proxies.Write(&b)
	if len(r.hotPaths) > 0 {
		fmt.Fprintf(&b, "\n## Hot paths\n\n`go test -bench`.\n\n")
	}
	for _, line := range r.hotPaths {
		fmt.Fprintf(&b, "    %s\n", line)
	}
	return b.String()
}

func (r results) writeBounds(b *strings.Builder) {
	bounds := slices.DeleteFunc([]bound{
		{"a container is killed: it serves again", 10 * time.Second, r.tookFor(restart)},
		{"a host is lost: replacements serve", 10 * time.Second, r.tookFor(loss)},
		{"the scheduler's host is lost: a replacement serves, found by name", 15 * time.Second, r.lostScheduler},
		{"likewise, the etcd leader's host", 15 * time.Second, r.lostLed},
		{fmt.Sprintf("a manifest after etcd was away for %s: it runs", text(etcdAway)), 5 * time.Second, r.returned},
		{"the ambassador is killed: its host's links work again", 5 * time.Second, r.gaps},
	}, func(bound bound) bool { return len(bound.took) == 0 })
	if len(bounds) == 0 {
		return
	}
	fmt.Fprintf(b, `
## What is promised

Of %d kills and %d outages each:

| what | promised | median | worst |
|---|---|---|---|
`, r.rounds, r.outages)
	for _, bound := range bounds {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", bound.what, text(bound.promised), text(bound.took.median()), text(bound.took.worst()))
	}
}

// bound is a time that is promised.
type bound struct {
	what     string
	promised time.Duration
	took     samples
}

// tookFor is how long the cluster took in a duel, none if there was none.
func (r results) tookFor(what string) samples {
	for _, d := range r.duels {
		if d.what == what {
			return d.took
		}
	}
	return nil
}

// What a host's share of the cluster may take at rest.
const (
	conductorMemory = 30 << 20
	conductorShare  = 0.005 // of a core
	daemonsMemory   = 80 << 20
)

func (r results) writeRest(b *strings.Builder) {
	if len(r.rest) == 0 {
		return
	}
	fmt.Fprintf(b, `
## At rest

Three hosts with %d web servers, over %s. RSS counts shared pages in full, PSS by the share, so the PSS of several are what they
take together. Goals: a conductor ≤ %s (RSS) and ≤ %.1f %%, all daemons of a host without etcd ≤ %s (PSS).

| daemon | host | RSS | PSS | CPU, of one core | goals met |
|---|---|---|---|---|---|
`, restingContainers, text(resting), mebibytes(conductorMemory), 100*conductorShare, mebibytes(daemonsMemory))
	sums := map[int]*usage{}
	for _, u := range r.rest {
		met := ""
		if u.name == "conductor" {
			met = yes(u.rss <= conductorMemory && u.cpu <= conductorShare)
		}
		writeUsage(b, u, met)
		if sums[u.host] == nil {
			sums[u.host] = &usage{host: u.host, name: "**all but etcd**"}
		}
		if sum := sums[u.host]; u.name != "etcd" {
			sum.rss, sum.pss, sum.cpu = sum.rss+u.rss, sum.pss+u.pss, sum.cpu+u.cpu
		}
	}
	missed := false
	for _, host := range slices.Sorted(maps.Keys(sums)) {
		met := sums[host].pss <= daemonsMemory
		writeUsage(b, *sums[host], yes(met))
		missed = missed || !met
	}
	if missed {
		fmt.Fprint(b, "\nMost of what the daemons take are their programs, which share no page but conductor's and dokkaa-firewall's. One program for all,\n"+
			"in a layer that their images share, would be there once.\n")
	}
}

func writeUsage(b *strings.Builder, u usage, met string) {
	fmt.Fprintf(b, "| %s | %d | %s | %s | %.2f %% | %s |\n", u.name, u.host, mebibytes(u.rss), mebibytes(u.pss), 100*u.cpu, met)
}

// yes says whether a goal was met.
func yes(met bool) string {
	if met {
		return "yes"
	}
	return "**no**"
}

func mebibytes(n uint64) string {
	if n == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
