package ambassador

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"github.com/dokkaa/dokkaa/ambassador/backend"
)

// Times of the resolver.
const (
	queryTimeout = time.Second
	// With an answer at hand that is merely old, the name server gets less patience, and
	// after a failure none for a while.
	hurriedTimeout = 300 * time.Millisecond
	holdOff        = time.Second

	maxTTL = time.Second // an answer is used that long, or for its own TTL if that is shorter
	maxAge = time.Hour   // and that long if the name server fails

	slowStart = 10 * time.Second // of a new endpoint
)

// resolver asks the name server for the endpoints of a service, and remembers what it said.
type resolver struct {
	server func() (string, error) // address of the name server
	errors prometheus.Counter

	flights singleflight.Group

	mu      sync.Mutex
	answers map[string]answer
}

type answer struct {
	pool  *backend.Pool
	fresh time.Time // until when it is used without asking
	old   time.Time // until when it is used if the name server fails
}

func newResolver(server func() (string, error), errs prometheus.Counter) *resolver {
	return &resolver{server: server, errors: errs, answers: make(map[string]answer)}
}

// lookup returns the endpoints of the service: as remembered if that is fresh, as the name
// server says, or, if that fails, as it said last. No endpoint is not an error but an answer.
func (r *resolver) lookup(ctx context.Context, name string) (*backend.Pool, error) {
	if known, ok := r.fresh(name); ok {
		return known, nil
	}
	_, ok := r.remembered(name)
	attempts, timeout := 2, queryTimeout
	if ok {
		attempts, timeout = 1, hurriedTimeout
	}
	return r.ask(ctx, "lookup "+name, name, attempts, timeout)
}

// fresh returns what is remembered if it needs no question.
func (r *resolver) fresh(name string) (*backend.Pool, bool) {
	known, ok := r.remembered(name)
	return known.pool, ok && time.Now().Before(known.fresh)
}

// refresh is lookup for somebody to whom the remembered answer was of no use.
func (r *resolver) refresh(ctx context.Context, name string) (*backend.Pool, error) {
	return r.ask(ctx, "refresh "+name, name, 2, queryTimeout)
}

// ask asks the name server, once for all who do so under the same key at the same time.
func (r *resolver) ask(ctx context.Context, key, name string, attempts int, timeout time.Duration) (*backend.Pool, error) {
	result, err, _ := r.flights.Do(key, func() (any, error) {
		var err error
		for range attempts {
			var endpoints []backend.Endpoint
			var ttl time.Duration
			if endpoints, ttl, err = r.query(ctx, name, timeout); err == nil {
				return r.remember(name, endpoints, ttl), nil
			}
			r.errors.Inc()
		}
		if known, ok := r.postpone(name); ok {
			return known.pool, nil
		}
		return nil, fmt.Errorf("resolve %s: %w", name, err)
	})
	if err != nil {
		return nil, err
	}
	return result.(*backend.Pool), nil
}

func (r *resolver) remembered(name string) (answer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.answers[name]
	return known, ok && time.Now().Before(known.old)
}

func (r *resolver) remember(name string, endpoints []backend.Endpoint, ttl time.Duration) *backend.Pool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for other, past := range r.answers {
		if now.After(past.old) {
			delete(r.answers, other)
		}
	}
	known := r.answers[name].pool
	if known == nil {
		known = backend.New(now, slowStart)
	}
	known = known.Renew(endpoints, now)
	r.answers[name] = answer{pool: known, fresh: now.Add(min(ttl, maxTTL)), old: now.Add(maxAge)}
	return known
}

// postpone lets an old answer count as fresh for a moment, so that not every connection
// waits for a name server that fails.
func (r *resolver) postpone(name string) (answer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.answers[name]
	now := time.Now()
	if !ok || now.After(known.old) {
		return answer{}, false
	}
	known.fresh = now.Add(holdOff)
	r.answers[name] = known
	return known, true
}

// query asks the name server once.
func (r *resolver) query(ctx context.Context, name string, timeout time.Duration) ([]backend.Endpoint, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	reply, err := r.exchange(ctx, name, dns.TypeSRV)
	if err != nil {
		return nil, 0, err
	}
	ttl := maxTTL
	addrs := addressesOf(reply.Extra)
	var endpoints []backend.Endpoint
	for _, record := range reply.Answer {
		srv, ok := record.(*dns.SRV)
		if !ok {
			continue
		}
		ttl = min(ttl, time.Duration(srv.Hdr.Ttl)*time.Second)
		target := strings.ToLower(srv.Target)
		if _, ok := addrs[target]; !ok {
			reply, err := r.exchange(ctx, target, dns.TypeA)
			if err != nil {
				return nil, 0, err
			}
			addrs[target] = addressesOf(reply.Answer)[target]
		}
		for _, addr := range addrs[target] {
			endpoints = append(endpoints, backend.Endpoint{Addr: netip.AddrPortFrom(addr, srv.Port), Priority: srv.Priority, Weight: srv.Weight})
		}
	}
	return endpoints, ttl, nil
}

// exchange sends one question. An answer that there is no such name or record is no error.
func (r *resolver) exchange(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	server, err := r.server()
	if err != nil {
		return nil, err
	}
	question := new(dns.Msg)
	question.SetQuestion(dns.Fqdn(name), kind)
	question.SetEdns0(4096, false)
	reply, err := exchangeOver(ctx, "udp", server, question)
	if err == nil && reply.Truncated {
		reply, err = exchangeOver(ctx, "tcp", server, question)
	}
	if err != nil {
		return nil, err
	}
	if reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
		return nil, errors.New(dns.RcodeToString[reply.Rcode])
	}
	return reply, nil
}

func exchangeOver(ctx context.Context, network, server string, question *dns.Msg) (*dns.Msg, error) {
	client := dns.Client{Net: network}
	if deadline, ok := ctx.Deadline(); ok {
		client.Timeout = time.Until(deadline) // or its own, shorter one would count
	}
	reply, _, err := client.ExchangeContext(ctx, question, server)
	return reply, err
}

// addressesOf collects A records by owner name, in lower case.
func addressesOf(records []dns.RR) map[string][]netip.Addr {
	addrs := make(map[string][]netip.Addr)
	for _, record := range records {
		a, ok := record.(*dns.A)
		if !ok {
			continue
		}
		if addr, ok := netip.AddrFromSlice(a.A); ok {
			name := strings.ToLower(a.Hdr.Name)
			addrs[name] = append(addrs[name], addr.Unmap())
		}
	}
	return addrs
}
