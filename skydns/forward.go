package skydns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxForwards bounds the queries that wait for other nameservers at one time, and with
	// them the sockets and the memory that a flood of foreign names can take.
	maxForwards = 1024
	// shunned is how long a nameserver that did not answer is asked only after the others.
	shunned = 10 * time.Second
	// minLabels is SkyDNS's ndots: what has fewer labels is nobody's name.
	minLabels = 2
)

var (
	errBusy         = errors.New("too many queries wait for other nameservers")
	errNoNameserver = errors.New("there is no nameserver to ask")
)

// forwarder asks other nameservers.
type forwarder struct {
	upstreams []*upstream
	timeout   time.Duration             // of one attempt; all of them get twice that
	isSelf    func(netip.AddrPort) bool // asking ourselves would go round and round
	slots     chan struct{}
}

// upstream is one nameserver.
type upstream struct {
	addr    netip.AddrPort
	shunned atomic.Pointer[time.Time] // until when
}

func newForwarder(nameservers []netip.AddrPort, timeout time.Duration, isSelf func(netip.AddrPort) bool) *forwarder {
	f := &forwarder{timeout: timeout, isSelf: isSelf, slots: make(chan struct{}, maxForwards)}
	for _, addr := range nameservers {
		f.upstreams = append(f.upstreams, &upstream{addr: addr})
	}
	return f
}

// forward asks one nameserver after the other, those first that answered lately, and returns
// the first reply, whatever it says. It answers within twice the timeout, so that the client,
// which waits five seconds as a rule, learns of a failure.
func (f *forwarder) forward(ctx context.Context, req *dns.Msg, tcp bool) (*dns.Msg, error) {
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	default:
		return nil, errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, 2*f.timeout)
	defer cancel()

	errs := []error{errNoNameserver}
	for _, u := range f.order(time.Now()) {
		reply, err := f.ask(ctx, u.addr, req, tcp)
		if err == nil {
			u.shunned.Store(nil)
			return reply, nil
		}
		until := time.Now().Add(shunned)
		u.shunned.Store(&until)
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	if len(errs) > 1 {
		errs = errs[1:]
	}
	return nil, errors.Join(errs...)
}

// order is the nameservers in the order in which to ask them: beginning anywhere, which
// spreads the load, and the shunned ones last.
func (f *forwarder) order(now time.Time) []*upstream {
	var good, bad []*upstream
	for _, i := range rand.Perm(len(f.upstreams)) {
		u := f.upstreams[i]
		until := u.shunned.Load()
		switch {
		case f.isSelf(u.addr):
		case until != nil && now.Before(*until):
			bad = append(bad, u)
		default:
			good = append(good, u)
		}
	}
	return append(good, bad...)
}

// ask asks one nameserver. One that fails to find an answer is asked a second time: many of
// them fetched it meanwhile.
func (f *forwarder) ask(ctx context.Context, addr netip.AddrPort, req *dns.Msg, tcp bool) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	reply, err := f.exchange(ctx, addr, req, tcp)
	if err == nil && reply.Rcode == dns.RcodeServerFailure {
		if second, err := f.exchange(ctx, addr, req, tcp); err == nil {
			reply = second
		}
	}
	if err == nil && reply.Truncated && !tcp {
		// Its limit may be lower than the client's. If TCP fails, the TC bit tells the client to try.
		if whole, err := f.exchange(ctx, addr, req, true); err == nil {
			reply = whole
		}
	}
	return reply, err
}

// exchange sends the query under an id of its own, and accepts a reply to that question only.
func (f *forwarder) exchange(ctx context.Context, addr netip.AddrPort, req *dns.Msg, tcp bool) (*dns.Msg, error) {
	client := dns.Client{Net: "udp", Timeout: f.timeout}
	if tcp {
		client.Net = "tcp"
	}
	query := req.Copy()
	query.Id = dns.Id()
	reply, _, err := client.ExchangeContext(ctx, query, addr.String())
	if err != nil {
		return nil, fmt.Errorf("ask nameserver %s: %w", addr, err)
	}
	if !answers(reply, query) {
		return nil, fmt.Errorf("ask nameserver %s: reply to another question", addr)
	}
	reply.Id = req.Id
	reply.Question = req.Question // case as the client wrote it
	return reply, nil
}

func answers(reply, query *dns.Msg) bool {
	if !reply.Response {
		return false
	}
	if len(reply.Question) == 0 { // some leave it out where they refuse
		return reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError
	}
	got, want := reply.Question[0], query.Question[0]
	return len(reply.Question) == 1 && got.Qtype == want.Qtype && got.Qclass == want.Qclass && strings.EqualFold(got.Name, want.Name)
}
