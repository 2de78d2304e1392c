package forward

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const (
	// shunned is how long a nameserver that did not answer is asked only after the others.
	shunned = 10 * time.Second
	// foldTime is how long a nameserver that does not keep the case of names is asked in
	// lower case.
	foldTime = 10 * time.Minute
	// selfTime is how long the look whether a nameserver is ourselves holds.
	selfTime = time.Second
)

var errFolded = errors.New("reply does not repeat the case of the question")

// upstream is one nameserver. Times are in nanoseconds since it was made.
type upstream struct {
	addr netip.AddrPort
	pool pool
	made time.Time

	shunned atomic.Int64 // until when; 0: it answered last time
	folds   atomic.Int64 // until when it is asked in lower case
	self    atomic.Bool  // asking it would go round and round
	looked  atomic.Int64 // when that was found out
}

func newUpstream(addr netip.AddrPort) *upstream {
	u := &upstream{addr: addr, pool: pool{addr: addr}, made: time.Now()}
	u.looked.Store(-1 << 62) // never
	return u
}

func (u *upstream) clock(now time.Time) int64 { return int64(now.Sub(u.made)) }

// isSelf is what look says, asked again after a while: addresses come and go.
func (u *upstream) isSelf(look func(netip.AddrPort) bool, now time.Time) bool {
	at, looked := u.clock(now), u.looked.Load()
	if at-looked > int64(selfTime) && u.looked.CompareAndSwap(looked, at) {
		u.self.Store(look(u.addr))
	}
	return u.self.Load()
}

// avoid says whether the nameserver failed lately. When the time is up one query tries it,
// while the others go on avoiding it.
func (u *upstream) avoid(now time.Time) bool {
	until := u.shunned.Load()
	if until == 0 {
		return false
	}
	return u.clock(now) < until || !u.shunned.CompareAndSwap(until, u.clock(now.Add(shunned)))
}

// note remembers how an attempt went.
func (u *upstream) note(err error, now time.Time) {
	switch {
	case err != nil:
		u.shunned.Store(u.clock(now.Add(shunned)))
	case u.shunned.Load() != 0:
		u.shunned.Store(0)
	}
}

// ask gets the nameserver's answer until the deadline. Where it fails to find one it is asked a
// second time: many have fetched it meanwhile. What does not fit into a packet is fetched over
// TCP; if that fails as well, the answer is the truncated one.
func (u *upstream) ask(a asked, deadline time.Time) (*answer, error) {
	reply, err := u.exchange(a, deadline)
	if err != nil {
		return nil, fmt.Errorf("ask nameserver %s: %w", u.addr, err)
	}
	switch reply.rcode() {
	case dns.RcodeServerFailure:
		if second, err := u.exchange(a, deadline); err == nil {
			reply = second
		}
	case dns.RcodeFormatError, dns.RcodeNotImplemented:
		if a.hasOPT() { // RFC 6891, 6.2.2
			if second, err := u.exchange(a.withoutOPT(), deadline); err == nil {
				reply = second
			}
		}
	}
	if reply.truncated() {
		if whole, err := u.exchangeTCP(a, deadline); err == nil {
			reply = whole
		}
	}
	return reply, nil
}

// exchange asks over UDP, and over TCP where the reply may be forged.
func (u *upstream) exchange(a asked, deadline time.Time) (*answer, error) {
	folds := u.clock(time.Now()) < u.folds.Load()
	if folds {
		a.spellPlainly()
	}
	reply, err := u.pool.exchange(a, deadline)
	if !errors.Is(err, errFolded) {
		return reply, err
	}
	// Nobody can forge a reply over TCP from afar: if the name comes back changed even there,
	// or there is no TCP, the nameserver is one that does not keep the case.
	reply, err = u.exchangeTCP(a, deadline)
	if err == nil {
		return reply, nil
	}
	u.folds.Store(u.clock(time.Now().Add(foldTime)))
	a.spellPlainly()
	return u.pool.exchange(a, deadline)
}
