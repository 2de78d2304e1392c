package skydns

import (
	"encoding/hex"
	"net"
	"net/netip"
	"time"

	"github.com/dokkaa/dokkaa/skydns/cookie"
	"github.com/dokkaa/dokkaa/skydns/limit"
	"github.com/miekg/dns"
)

// request is one query, unpacked, on its way to its reply.
type request struct {
	req    *dns.Msg
	client netip.AddrPort
	tcp    bool
	size   int       // of the reply at most
	start  time.Time // when the query came
	by     system    // who answers it

	cookie []byte // for the reply, nil if the client does not know of cookies
	proven bool   // the client is where it says
}

func newRequest(w dns.ResponseWriter, req *dns.Msg) *request {
	x := &request{req: req, start: time.Now()}
	switch addr := w.RemoteAddr().(type) {
	case *net.UDPAddr:
		x.client = addr.AddrPort()
	case *net.TCPAddr:
		x.client, x.tcp, x.proven = addr.AddrPort(), true, true
	}
	x.size = replySize(req, x.tcp)
	return x
}

// readEDNS looks at the query's OPT record (RFC 6891) and cookie (RFC 7873). It returns the code to
// refuse the query with, 0 for none.
func (x *request) readEDNS(secret *cookie.Secret) (rcode int) {
	var opt *dns.OPT
	for _, rr := range x.req.Extra {
		if o, is := rr.(*dns.OPT); is {
			if opt != nil || o.Hdr.Name != "." {
				return dns.RcodeFormatError
			}
			opt = o
		}
	}
	if opt == nil {
		return 0
	}
	if opt.Version() != 0 {
		return dns.RcodeBadVers
	}
	for _, option := range opt.Option {
		sent, is := option.(*dns.EDNS0_COOKIE)
		if !is {
			continue
		}
		received, err := hex.DecodeString(sent.Cookie)
		if err != nil || !cookie.Legal(received) {
			return dns.RcodeFormatError
		}
		fresh, proven := secret.Answer(received, x.client.Addr(), x.start)
		x.cookie, x.proven = fresh, x.proven || proven
		return 0 // others than the first do not count
	}
	return 0
}

// addCookie puts the client's cookie into the reply.
func (x *request) addCookie(reply *dns.Msg) {
	if opt := reply.IsEdns0(); opt != nil && x.cookie != nil {
		opt.Option = append(opt.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: hex.EncodeToString(x.cookie)})
	}
}

// qtype is the type that is asked for, 0 if none is.
func (x *request) qtype() uint16 {
	if len(x.req.Question) != 1 {
		return 0
	}
	return x.req.Question[0].Qtype
}

// limit is what is to be done with a reply: those whose address is proven get all of them.
func (x *request) limit(l *limit.Limiter, rcode int) limit.Verdict {
	if x.proven || !l.Limits(x.client.Addr()) {
		return limit.Send
	}
	var name [256]byte
	size := 0
	if len(x.req.Question) > 0 {
		// A name that cannot be packed is as good as none.
		size, _ = dns.PackDomainName(x.req.Question[0].Name, name[:], 0, nil, false)
	}
	return l.Check(x.client.Addr(), kindOf(rcode), name[:max(0, size)], x.start)
}

// kindOf is what a reply of that code counts as.
func kindOf(rcode int) limit.Kind {
	switch rcode {
	case dns.RcodeSuccess:
		return limit.Answer
	case dns.RcodeNameError:
		return limit.Absent
	}
	return limit.Failed
}
