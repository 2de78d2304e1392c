package names

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/dokkaa/dokkaa/ambassador/backend"
)

// maxUDP is the size of a reply that may come in a packet. Larger ones are asked for again by TCP.
const maxUDP = 4096

// Datagrams is the name that those endpoints of a service have that take datagrams. It is below the
// service's own, whose answers have them, too: there they are left out, since a port of the same number
// may be another service's. See docs/adr/0022-datagrams.md.
func Datagrams(service string) string { return "udp." + service }

// answer is what the name server says of a name. That there is none, or no endpoint, is an answer, too.
type answer struct {
	endpoints []backend.Endpoint
	ttl       time.Duration // how long it may be used
}

// client asks a name server.
type client struct {
	server func() (string, error)
}

// ask asks for the endpoints of the name, and for the addresses that the answer lacks.
func (c client) ask(ctx context.Context, name string) (answer, error) {
	reply, err := c.exchange(ctx, name, dns.TypeSRV)
	if err != nil {
		return answer{}, err
	}
	a := answer{ttl: maxTTL}
	for _, record := range reply.Ns {
		if soa, ok := record.(*dns.SOA); ok { // how long there is nothing: RFC 2308
			a.limit(min(soa.Hdr.Ttl, soa.Minttl))
		}
	}
	addrs := make(map[string][]netip.Addr)
	a.collect(reply.Extra, func(owner string, addr netip.Addr) { addrs[owner] = append(addrs[owner], addr) })
	for _, record := range reply.Answer {
		srv, ok := record.(*dns.SRV)
		if !ok {
			continue
		}
		a.limit(srv.Hdr.Ttl)
		target := strings.ToLower(srv.Target)
		if strings.HasSuffix(target, "."+strings.ToLower(dns.Fqdn(Datagrams(name)))) {
			continue // nothing that one can connect to
		}
		if _, ok := addrs[target]; !ok {
			if addrs[target], err = c.addresses(ctx, target, &a); err != nil {
				return answer{}, err
			}
		}
		for _, addr := range addrs[target] {
			a.endpoints = append(a.endpoints, backend.Endpoint{Addr: netip.AddrPortFrom(addr, srv.Port), Priority: srv.Priority, Weight: srv.Weight})
		}
	}
	return a, nil
}

// addresses asks for the addresses of a target, of both kinds.
func (c client) addresses(ctx context.Context, target string, a *answer) (addrs []netip.Addr, err error) {
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		reply, err := c.exchange(ctx, target, kind)
		if err != nil {
			return nil, err
		}
		a.collect(reply.Answer, func(_ string, addr netip.Addr) { addrs = append(addrs, addr) })
	}
	return addrs, nil
}

// collect finds the addresses among records, by owner name in lower case.
func (a *answer) collect(records []dns.RR, found func(owner string, addr netip.Addr)) {
	for _, record := range records {
		var ip []byte
		switch record := record.(type) {
		case *dns.A:
			ip = record.A
		case *dns.AAAA:
			ip = record.AAAA
		default:
			continue
		}
		if addr, ok := netip.AddrFromSlice(ip); ok {
			a.limit(record.Header().Ttl)
			found(strings.ToLower(record.Header().Name), addr.Unmap())
		}
	}
}

// limit honours a record's TTL.
func (a *answer) limit(seconds uint32) { a.ttl = min(a.ttl, time.Duration(seconds)*time.Second) }

// exchange sends one question. An answer that there is no such name or record is no error.
func (c client) exchange(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	server, err := c.server()
	if err != nil {
		return nil, err
	}
	question := new(dns.Msg)
	question.SetQuestion(dns.Fqdn(name), kind)
	question.SetEdns0(maxUDP, false)
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
