//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// query is a line of what is asked.
type query struct {
	name  string
	qtype uint16
}

const (
	saturating  = time.Second            // how long dnsperf asks as fast as it can
	sampling    = 700 * time.Millisecond // how long latencies are taken
	clients     = 64
	fixedRate   = 20_000 // per second
	lostAfter   = time.Second
	dnsperfArgs = "-T 1 -c 8 -q 100"
)

// saturate asks as fast as dnsperf can, and returns the queries per second and the processor time
// that each took.
func (c *dnsContest) saturate(ctx context.Context, n *nameserver, queries []query) (perSecond float64, each time.Duration, err error) {
	var lines strings.Builder
	for _, q := range queries {
		fmt.Fprintf(&lines, "%s %s\n", q.name, dns.TypeToString[q.qtype])
	}
	file := filepath.Join(c.dir, "queries")
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		return 0, 0, fmt.Errorf("write queries: %w", err)
	}
	before, err := n.spent()
	if err != nil {
		return 0, 0, err
	}
	host, port, _ := strings.Cut(n.address, ":")
	args := append(strings.Fields(dnsperfArgs), "-s", host, "-p", port, "-d", file, "-l", fmt.Sprint(saturating.Seconds()))
	out, err := exec.CommandContext(ctx, "dnsperf", args...).CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("dnsperf: %w: %s", err, out)
	}
	after, err := n.spent()
	if err != nil {
		return 0, 0, err
	}
	completed, err := figure(string(out), "Queries completed")
	if err != nil {
		return 0, 0, err
	}
	if perSecond, err = figure(string(out), "Queries per second"); err != nil {
		return 0, 0, err
	}
	return perSecond, time.Duration(float64(after-before) / completed), nil
}

// figure is the number that dnsperf gives a name.
func figure(out, name string) (float64, error) {
	for line := range strings.Lines(out) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strconv.ParseFloat(strings.Fields(value)[0], 64)
		}
	}
	return 0, fmt.Errorf("dnsperf tells no %q: %s", name, out)
}

// packets are the queries as they are sent.
func packets(queries []query) ([][]byte, error) {
	all := make([][]byte, len(queries))
	for i, q := range queries {
		var err error
		if all[i], err = new(dns.Msg).SetQuestion(q.name, q.qtype).Pack(); err != nil {
			return nil, fmt.Errorf("pack query: %w", err)
		}
	}
	return all, nil
}

// closedLoop has 64 clients ask, each as soon as it was answered.
func closedLoop(n *nameserver, queries []query) (samples, error) {
	wires, err := packets(queries)
	if err != nil {
		return nil, err
	}
	var group errgroup.Group
	all := make([]samples, clients)
	end := time.Now().Add(sampling)
	for i := range clients {
		group.Go(func() error {
			conn, err := net.Dial("udp", n.address)
			if err != nil {
				return err
			}
			defer conn.Close()
			reply := make([]byte, 4096)
			for turn := i; time.Now().Before(end); turn += clients {
				start := time.Now()
				if err := conn.SetDeadline(start.Add(lostAfter)); err != nil {
					return err
				}
				if _, err := conn.Write(wires[turn%len(wires)]); err != nil {
					return err
				}
				if _, err := conn.Read(reply); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					return err
				}
				all[i] = append(all[i], time.Since(start))
			}
			return nil
		})
	}
	err = group.Wait()
	return flat(all), err
}

// openLoop has 64 clients ask at a fixed rate, whatever is answered. What is not answered counts
// with the time after which it is lost.
func openLoop(n *nameserver, queries []query) (samples, error) {
	wires, err := packets(queries)
	if err != nil {
		return nil, err
	}
	var group errgroup.Group
	all := make([]samples, clients)
	start := time.Now()
	for i := range clients {
		group.Go(func() (err error) {
			all[i], err = openClient(n, wires, i, start)
			return err
		})
	}
	err = group.Wait()
	return flat(all), err
}

// openClient sends at its share of the rate, and takes the replies.
func openClient(n *nameserver, wires [][]byte, i int, start time.Time) (samples, error) {
	const every = clients * time.Second / fixedRate
	count := int(sampling / every)
	conn, err := net.Dial("udp", n.address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	first := start.Add(every * time.Duration(i) / clients)
	due := func(k int) time.Time { return first.Add(time.Duration(k) * every) }
	took := make(samples, count)
	var group errgroup.Group
	group.Go(func() error {
		reply := make([]byte, 4096)
		if err := conn.SetReadDeadline(due(count).Add(lostAfter / 4)); err != nil {
			return err
		}
		for range count {
			if _, err := conn.Read(reply); err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					return nil
				}
				return err
			}
			if k := int(binary.BigEndian.Uint16(reply)); k < count {
				took[k] = time.Since(due(k))
			}
		}
		return nil
	})
	for k := range count {
		wire := append([]byte(nil), wires[(k*clients+i)%len(wires)]...)
		binary.BigEndian.PutUint16(wire, uint16(k))
		time.Sleep(time.Until(due(k)))
		if _, err := conn.Write(wire); err != nil {
			return nil, errors.Join(err, group.Wait())
		}
	}
	err = group.Wait()
	for k := range took {
		if took[k] == 0 {
			took[k] = lostAfter
		}
	}
	return took, err
}

func flat(all []samples) samples {
	var one samples
	for _, s := range all {
		one = append(one, s...)
	}
	return one
}
