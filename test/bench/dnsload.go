//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// query is a line of what is asked.
type query struct {
	name  string
	qtype uint16
}

const (
	asking      = 500 * time.Millisecond // how long one server is asked at a time
	clients     = 64
	fixedRate   = 20_000 // per second
	lostAfter   = time.Second
	dnsperfArgs = "-T 1 -c 8 -q 100"
)

// dnsLoad is one way to ask with dnsperf, and what is told of it.
type dnsLoad struct {
	args    string
	measure func(out string, spent time.Duration, f *dnsFigures) error
}

// dnsLoads are as fast as dnsperf can, with each client asking as soon as it is answered, and at a
// fixed rate, whatever is answered.
func dnsLoads() []dnsLoad {
	return []dnsLoad{
		{dnsperfArgs, func(out string, spent time.Duration, f *dnsFigures) (err error) {
			completed, err := figure(out, "Queries completed")
			if err != nil {
				return err
			}
			f.each = time.Duration(float64(spent) / completed)
			f.perSecond, err = figure(out, "Queries per second")
			return err
		}},
		{fmt.Sprintf("-v -T 1 -c %d -q %[1]d", clients), func(out string, _ time.Duration, f *dnsFigures) (err error) {
			f.closed99, err = latency(out)
			return err
		}},
		{fmt.Sprintf("-v -T 1 -c %d -q 10000 -Q %d", clients, fixedRate), func(out string, _ time.Duration, f *dnsFigures) (err error) {
			f.open99, err = latency(out)
			return err
		}},
	}
}

// ask runs dnsperf, and notes what it tells.
func (c *dnsContest) ask(ctx context.Context, n *nameserver, file string, load dnsLoad, f *dnsFigures) error {
	before, err := n.spent()
	if err != nil {
		return err
	}
	host, port, _ := strings.Cut(n.address, ":")
	args := append(strings.Fields(load.args), "-s", host, "-p", port, "-d", file,
		"-l", fmt.Sprint(asking.Seconds()), "-t", fmt.Sprint(lostAfter.Seconds()))
	out, err := exec.CommandContext(ctx, "dnsperf", args...).Output()
	if err != nil {
		return fmt.Errorf("dnsperf: %w: %.1000s", err, out)
	}
	after, err := n.spent()
	if err != nil {
		return err
	}
	return load.measure(string(out), after-before, f)
}

// writeQueries writes the file that dnsperf reads.
func (c *dnsContest) writeQueries(queries []query) (file string, err error) {
	var lines strings.Builder
	for _, q := range queries {
		fmt.Fprintf(&lines, "%s %s\n", q.name, dns.TypeToString[q.qtype])
	}
	file = filepath.Join(c.dir, "queries")
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		return "", fmt.Errorf("write queries: %w", err)
	}
	return file, nil
}

// figure is the number that dnsperf gives a name.
func figure(out, name string) (float64, error) {
	for line := range strings.Lines(out) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strconv.ParseFloat(strings.Fields(value)[0], 64)
		}
	}
	return 0, fmt.Errorf("dnsperf tells no %q: %.1000s", name, out)
}

// latency is what 99 % of the queries did not exceed. What was lost took as long as it was waited for.
func latency(out string) (time.Duration, error) {
	var all samples
	for line := range strings.Lines(out) {
		// "> NOERROR web.shop.skydns.local SRV 0.000212"
		fields := strings.Fields(line)
		if len(fields) != 5 || fields[0] != ">" {
			continue
		}
		seconds, err := strconv.ParseFloat(fields[4], 64)
		if err != nil {
			return 0, fmt.Errorf("read dnsperf's output: %w", err)
		}
		all = append(all, time.Duration(seconds*float64(time.Second)))
	}
	lost, err := figure(out, "Queries lost")
	for range int(lost) {
		all = append(all, lostAfter)
	}
	return all.quantile(0.99), err
}
