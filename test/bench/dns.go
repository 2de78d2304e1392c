//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// dnsContest is our nameserver beside others, all with the same records.
type dnsContest struct {
	dir, binaries string
	client        http.Client
	processes     []*exec.Cmd
	servers       []*nameserver // ours first, then CoreDNS, then NSD
	uncached      *nameserver   // CoreDNS without its cache
}

// dnsResults are what was measured of the nameservers.
type dnsResults struct {
	rounds    int
	questions []dnsQuestion
	visible   []visibility
	large     largeZone
}

// dnsQuestion is what the servers made of one kind of question.
type dnsQuestion struct {
	what    string
	queries []query
	foreign bool           // NSD does not know
	rounds  [][]dnsFigures // of each server
}

// dnsFigures are one server's in one round.
type dnsFigures struct {
	perSecond              float64
	each, closed99, open99 time.Duration
}

// visibility is how long after the start of a write a server answered with what was written.
type visibility struct {
	name string
	took samples
}

// largeZone is what 100,000 records take of our nameserver.
type largeZone struct {
	start   samples
	memory  uint64
	visible samples
}

// dnsQuestions are what is asked.
func dnsQuestions() []dnsQuestion {
	many := make([]query, manyNames)
	for i := range many {
		many[i] = query{manyName(rand.IntN(manyNames)), dns.TypeSRV}
	}
	one := func(name string, qtype uint16) []query { return []query{{name, qtype}} }
	return []dnsQuestion{
		{what: "SRV, 3 instances", queries: one("web.shop.skydns.local.", dns.TypeSRV)},
		{what: "A, 3 instances", queries: one("web.shop.skydns.local.", dns.TypeA)},
		{what: "no such name", queries: one("nope.shop.skydns.local.", dns.TypeA)},
		{what: "SRV, 10,000 names at random", queries: many},
		{what: "A, forwarded and cached", queries: one("www.example.org.", dns.TypeA), foreign: true},
	}
}

const visibleRounds = 200

// measureDNS starts the nameservers, measures, and stops them.
func measureDNS(ctx context.Context, binaries string, rounds int) (r dnsResults, err error) {
	dir, err := os.MkdirTemp("", "dokkaa-bench-dns")
	if err != nil {
		return r, fmt.Errorf("measure DNS: %w", err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(ctx)
	c := &dnsContest{dir: dir, binaries: binaries}
	defer func() {
		cancel()
		for _, p := range c.processes {
			_ = p.Wait() // it was killed
		}
	}()
	stop, err := upstream(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := c.start(ctx); err != nil {
		return r, err
	}
	r.rounds = rounds
	for _, q := range dnsQuestions() {
		if err := c.measure(ctx, rounds, &q); err != nil {
			return r, fmt.Errorf("%s: %w", q.what, err)
		}
		r.questions = append(r.questions, q)
	}
	for _, n := range []*nameserver{c.servers[0], c.uncached} {
		v, err := c.measureVisible(ctx, n)
		if err != nil {
			return r, fmt.Errorf("update of %s: %w", n.name, err)
		}
		r.visible = append(r.visible, v)
	}
	r.large, err = c.measureLarge(ctx)
	return r, err
}

// start starts the servers, and waits until they know all records.
func (c *dnsContest) start(ctx context.Context) error {
	if err := c.startEtcd(ctx); err != nil {
		return err
	}
	records := contestRecords()
	err := errors.Join(c.putAll(ctx, records, c.put3),
		c.putAll(ctx, records, func(ctx context.Context, r dnsRecord) error { return c.put(ctx, "skydns", r) }))
	if err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	for _, start := range []func() (*nameserver, error){
		func() (*nameserver, error) { return c.startOurs(ctx, dnsOurs, "skydns") },
		func() (*nameserver, error) { return c.startCoreDNS(ctx, "CoreDNS, cached", dnsCore, true) },
		func() (*nameserver, error) { return c.startCoreDNS(ctx, "CoreDNS, uncached", dnsUncached, false) },
		func() (*nameserver, error) { return c.startNSD(ctx) },
	} {
		n, err := start()
		if errors.Is(err, exec.ErrNotFound) {
			continue // NSD need not be there: installed, it takes port 53
		}
		if err != nil {
			return err
		}
		if err := n.ready(ctx, manyName(manyNames-1)); err != nil {
			return err
		}
		c.servers = append(c.servers, n)
	}
	c.uncached = c.servers[2]
	c.servers = slices.Delete(c.servers, 2, 3)
	return nil
}

// measure asks all servers, in turn and each round another first.
func (c *dnsContest) measure(ctx context.Context, rounds int, q *dnsQuestion) error {
	file, err := c.writeQueries(q.queries)
	if err != nil {
		return err
	}
	servers := c.servers
	if q.foreign {
		servers = servers[:2]
	}
	q.rounds = make([][]dnsFigures, len(servers))
	for round := range rounds + 1 {
		figures := make([]dnsFigures, len(servers))
		for _, load := range dnsLoads() {
			for turn := range servers {
				i := (round + turn) % len(servers)
				if err := c.ask(ctx, servers[i], file, load, &figures[i]); err != nil {
					return fmt.Errorf("%s: %w", servers[i].name, err)
				}
			}
		}
		if round == 0 {
			continue // what is cached then is there for all the others
		}
		for i, f := range figures {
			q.rounds[i] = append(q.rounds[i], f)
		}
	}
	return nil
}

// measureVisible writes a record again and again, and asks until the answer is what was written.
func (c *dnsContest) measureVisible(ctx context.Context, n *nameserver) (visibility, error) {
	put := func(ctx context.Context, r dnsRecord) error { return c.put(ctx, "skydns", r) }
	if n == c.uncached {
		put = c.put3
	}
	took, err := visible(ctx, n, put, visibleRounds)
	return visibility{n.name, took}, err
}

func visible(ctx context.Context, n *nameserver, put func(context.Context, dnsRecord) error, rounds int) (took samples, err error) {
	conn, err := dns.DialTimeout("udp", n.address, lostAfter)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var client dns.Client
	for round := range rounds {
		r := dnsRecord{"update.many.skydns.local.", "0123456789ab", fmt.Sprintf("10.2.%d.%d", round>>8, round&255), 80}
		written := make(chan error, 1)
		start := time.Now()
		go func() { written <- put(ctx, r) }()
		for {
			reply, _, err := client.ExchangeWithConnContext(ctx, new(dns.Msg).SetQuestion(r.service, dns.TypeA), conn)
			if err != nil {
				return nil, errors.Join(err, <-written)
			}
			if len(reply.Answer) == 1 && reply.Answer[0].(*dns.A).A.String() == r.host {
				break
			}
		}
		took = append(took, time.Since(start))
		if err := <-written; err != nil {
			return nil, err
		}
		if err := wait(ctx, 5*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return took, nil
}

// measureLarge starts our nameserver where there are 100,000 records.
func (c *dnsContest) measureLarge(ctx context.Context) (l largeZone, err error) {
	records := make([]dnsRecord, largeCount)
	for i := range records {
		service := fmt.Sprintf("web%d.app%d.skydns.local.", i/3%100, i/300)
		records[i] = dnsRecord{service, fmt.Sprintf("i%011x", i), fmt.Sprintf("10.%d.%d.%d", 3+i>>16, i>>8&255, i&255), 49153}
	}
	put := func(ctx context.Context, r dnsRecord) error { return c.put(ctx, "large", r) }
	if err := c.putAll(ctx, records, put); err != nil {
		return l, fmt.Errorf("write %d records: %w", largeCount, err)
	}
	for round := range 3 {
		start := time.Now()
		n, err := c.startOurs(ctx, dnsLarge, "large")
		if err != nil {
			return l, err
		}
		if err := n.ready(ctx, records[largeCount-1].service); err != nil {
			return l, err
		}
		l.start = append(l.start, time.Since(start))
		if round == 2 {
			if l.visible, err = visible(ctx, n, put, visibleRounds); err != nil {
				return l, err
			}
			if l.memory, err = kilobytes(procFile(n.process.Process.Pid, "status"), "VmRSS:"); err != nil {
				return l, err
			}
		}
		if err := n.process.Process.Kill(); err != nil {
			return l, fmt.Errorf("stop nameserver: %w", err)
		}
		_ = n.process.Wait() // it was killed
	}
	return l, nil
}
