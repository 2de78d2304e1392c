// Package limit decides whom the nameserver answers how often, so that nobody can use it to flood
// others: who forges a victim's address gets few replies sent to it.
package limit

import (
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"
)

// Options bound the replies to one network of clients.
type Options struct {
	Rate   int      // replies of one kind a second; 0: no limit
	Slip   int      // one in so many of the replies too many says to ask over TCP; 0: none
	Exempt Networks // clients that are not limited
}

// Kind is what counts as the same reply.
type Kind uint8

// Kinds of replies. Names that exist are told apart; others anybody can make up.
const (
	Answer Kind = iota
	Absent
	Failed
)

// Verdict is what is to be done with a reply.
type Verdict uint8

// Verdicts.
const (
	Send Verdict = iota
	Truncate
	Drop
)

const (
	// places is how many networks and kinds of replies are told apart.
	places = 1 << 16
	// burst is how much of its future a network may use up at once.
	burst = time.Second
)

// Limiter counts the replies to each network. It takes no lock and allocates nothing.
type Limiter struct {
	options  Options
	interval int64
	started  time.Time
	seed     maphash.Seed
	// For each place, up to when its replies are used up, in nanoseconds since the start. Who
	// shares a place by chance shares its replies.
	spent []atomic.Int64
}

// New returns a limiter; nil, which limits nothing, if there is no rate.
func New(options Options) *Limiter {
	if options.Rate <= 0 {
		return nil
	}
	return &Limiter{
		options: options, interval: int64(time.Second) / int64(options.Rate),
		started: time.Now(), seed: maphash.MakeSeed(), spent: make([]atomic.Int64, places),
	}
}

// Limits says whether the client is one whose replies are counted.
func (l *Limiter) Limits(client netip.Addr) bool {
	return l != nil && !l.options.Exempt.Contain(client)
}

// Check counts a reply to a client, and says what is to be done with it. The name is that of the
// question on the wire; its case makes no difference.
func (l *Limiter) Check(client netip.Addr, kind Kind, name []byte, now time.Time) Verdict {
	if !l.Limits(client) {
		return Send
	}
	place := &l.spent[l.hash(client, kind, name)%places]
	at := int64(now.Sub(l.started))
	for {
		old := place.Load()
		spent := max(old, at)
		if spent-at > int64(burst) {
			if l.options.Slip > 0 && rand.IntN(l.options.Slip) == 0 {
				return Truncate
			}
			return Drop
		}
		if place.CompareAndSwap(old, spent+l.interval) {
			return Send
		}
	}
}

// hash tells networks and kinds of replies apart: for IPv4 by 24 bits, for IPv6 by 56.
func (l *Limiter) hash(client netip.Addr, kind Kind, name []byte) uint64 {
	var data [8 + 1 + 255]byte
	if client = client.Unmap(); client.Is4() {
		four := client.As4()
		copy(data[:], four[:3])
	} else {
		six := client.As16()
		copy(data[:], six[:7])
	}
	data[7], data[8] = byte(client.BitLen()), byte(kind)
	size := 9
	if kind == Answer {
		for _, c := range name[:min(len(name), 255)] {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			data[size] = c
			size++
		}
	}
	return maphash.Bytes(l.seed, data[:size])
}
