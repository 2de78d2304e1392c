package zone

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/dokkaa/dokkaa/skydns/msg"
	"github.com/miekg/dns"
)

// Record is a service that stands at a name, and does not change. It has either Addr or Target, or neither: then
// its name exists, but nothing can be reached there.
type Record struct {
	msg.Service
	Key string // of the store
	// Name is the domain name of the record's key, case as stored; empty if that is no legal
	// name, with a label too long for DNS: the record then has no name that a target could
	// be made of.
	Name    string
	Addr    netip.Addr // the Host, if it is an address
	Target  string     // the Host with a final dot, if it is a name
	Expires time.Time  // when the key's lease ends, zero if it has none
	// Unreadable says that the value means nothing, so that nobody knows what stands here. The
	// record is empty then.
	Unreadable bool

	// modified and value are the key's, to know it again.
	modified uint64
	value    string
}

// SecondsLeft is the TTL to answer with at now: the smaller of the record's own and its key's
// remaining one, defaultTTL where it has neither. It never falls below 1: that a lease has
// ended is for the store to say, which may be out of reach and unable to renew it.
func (r *Record) SecondsLeft(now time.Time, defaultTTL uint32) uint32 {
	ttl := r.TTL
	if !r.Expires.IsZero() {
		left := uint32(min(max(r.Expires.Sub(now)/time.Second, 1), math.MaxInt32))
		if ttl == 0 || left < ttl {
			ttl = left
		}
	}
	if ttl == 0 {
		return defaultTTL
	}
	return ttl
}

// parseRecord reads the value of a key that stands at name. On an error the record is empty,
// which keeps the name in existence.
func parseRecord(name, value string) (Record, error) {
	r := Record{Name: name}
	if _, legal := dns.IsDomainName(name); !legal {
		r.Name = ""
	}
	service, err := msg.Parse(value)
	if err != nil {
		r.Unreadable = errors.Is(err, msg.ErrUnreadable)
		return r, err
	}
	if service.Host == "" {
		r.Service = service
		return r, nil
	}
	addr, err := netip.ParseAddr(service.Host)
	if err == nil && addr.Zone() == "" {
		r.Service, r.Addr = service, addr.Unmap()
		return r, nil
	}
	target := dns.Fqdn(service.Host)
	if _, legal := dns.IsDomainName(target); !legal || target == "." || err == nil {
		return r, fmt.Errorf("parse record: host %q is neither an address nor a domain name", service.Host)
	}
	r.Service, r.Target = service, target
	return r, nil
}
