//go:build linux

package main

import (
	"fmt"
	"strings"
	"time"
)

// markdown is the report, as it stands in docs/benchmarks.md.
func (r results) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Benchmarks

Written by `+"`make bench`"+` (test/bench), which needs root and 20 minutes; run it again to have the numbers of your
own machine. It makes a cluster of virtual hosts, measures, and removes it. All that is compared was measured in one run, in
turn, by the same Docker Engine.

%s
`, r.machine.markdown())
	r.writeStarts(&b)
	r.writeBounds(&b)
	r.writeRest(&b)
	fmt.Fprintf(&b, "\n## Hot paths\n\n`go test -bench`; the worlds of Compute have three instances of one container for each host.\n\n")
	for _, line := range r.hotPaths {
		fmt.Fprintf(&b, "    %s\n", line)
	}
	return b.String()
}

func (r results) writeStarts(b *strings.Builder) {
	fmt.Fprintf(b, `
## From the request to the page

The demo's web server, its image being there already; %d times each. *Running* is Docker's own time of start, *resolvable* the
first SRV answer of the host's nameserver, *serving* the first page from the published port. The ratio is that of the medians
to `+"`docker run -d -p`"+`. The cluster's containers get more than the bare ones: an init process, a network that isolates them,
a probe, a record.

| | | median | 95 %% | ratio |
|---|---|---|---|---|
`, r.rounds)
	row := func(how, what string, s, base samples) {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", how, what, text(s.median()), text(s.p95()), s.ratio(base))
	}
	row("PUT of a manifest", "running", r.cluster.running, r.cli.running)
	row("", "resolvable", r.cluster.resolvable, nil)
	row("", "serving", r.cluster.serving, r.cli.serving)
	row("`docker run -d -p`", "running", r.cli.running, r.cli.running)
	row("", "serving", r.cli.serving, r.cli.serving)
	row("Docker's API", "running", r.api.running, r.cli.running)
	row("", "serving", r.api.serving, r.cli.serving)
	fmt.Fprintf(b, `
The same server, new each time, killed (SIGKILL), until it serves again; the cluster's is found by name:

| | median | 95 %% | ratio |
|---|---|---|---|
| cluster | %s | %s | %s |
| `+"`docker run --restart always`"+` | %s | %s | 1.00 |
`, text(r.restarted.median()), text(r.restarted.p95()), r.restarted.ratio(r.restartedByDocker),
		text(r.restartedByDocker.median()), text(r.restartedByDocker.p95()))
}

func (r results) writeBounds(b *strings.Builder) {
	fmt.Fprintf(b, `
## What is promised

Of %d kills and %d outages each:

| what | promised | median | worst |
|---|---|---|---|
`, r.rounds, r.outages)
	for _, bound := range []struct {
		what     string
		promised time.Duration
		s        samples
	}{
		{"a container is killed: it serves again", 10 * time.Second, r.restarted},
		{"the host is lost: a replacement serves, found by name", 10 * time.Second, r.lostPlain},
		{"likewise, the scheduler's host", 15 * time.Second, r.lostScheduler},
		{"likewise, the etcd leader's host, of three", 15 * time.Second, r.lostLed},
		{fmt.Sprintf("a manifest after etcd was away for %s: it runs", text(etcdAway)), 5 * time.Second, r.returned},
		{"the ambassador is killed: its host's links work again", 5 * time.Second, r.gaps},
	} {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", bound.what, text(bound.promised), text(bound.s.median()), text(bound.s.worst()))
	}
}

func (r results) writeRest(b *strings.Builder) {
	fmt.Fprintf(b, `
## At rest

Two hosts with a web server and a crawler that asks it every 2 s, over %s. RSS counts shared pages in full, PSS by the share.

| daemon | host | RSS | PSS | CPU, of one core |
|---|---|---|---|---|
`, text(resting))
	for _, u := range r.rest {
		fmt.Fprintf(b, "| %s | %d | %s | %s | %.2f %% |\n", u.name, u.host, megabytes(u.rss), megabytes(u.pss), 100*u.cpu)
	}
	for host := 1; host <= 2; host++ {
		var sum usage
		for _, u := range r.rest {
			if u.host == host {
				sum.rss, sum.pss, sum.cpu = sum.rss+u.rss, sum.pss+u.pss, sum.cpu+u.cpu
			}
		}
		fmt.Fprintf(b, "| **all** | %d | %s | %s | %.2f %% |\n", host, megabytes(sum.rss), megabytes(sum.pss), 100*sum.cpu)
	}
}

func megabytes(n uint64) string {
	if n == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
