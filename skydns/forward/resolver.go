package forward

import (
	"context"
	"fmt"

	"github.com/miekg/dns"
)

// Exchange is Forward for a message that is unpacked.
func (f *Forwarder) Exchange(ctx context.Context, req *dns.Msg) (*dns.Msg, error) {
	packet, err := req.Pack()
	if err != nil {
		return nil, fmt.Errorf("pack query: %w", err)
	}
	wire, err := f.Forward(ctx, nil, packet, maxMessage)
	if err != nil {
		return nil, err
	}
	reply := new(dns.Msg)
	if err := reply.Unpack(wire); err != nil {
		return nil, fmt.Errorf("unpack reply: %w", err)
	}
	return reply, nil
}

// Resolve asks for a name on our own behalf, for the ends of chains and the targets of SRV
// records that are outside of the domain.
func (f *Forwarder) Resolve(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
	return f.Exchange(ctx, new(dns.Msg).SetQuestion(name, qtype).SetEdns0(maxSize, false))
}
