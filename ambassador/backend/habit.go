package backend

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// habitFor is how long it is remembered where a caller went last. Who comes later is sent by its hash,
// which is to the same endpoint unless there are others than there were.
const habitFor = time.Hour

// habits knows where named callers go.
type habits struct {
	mu     sync.Mutex
	last   map[string]habit
	tidied time.Duration
}

type habit struct {
	addr netip.AddrPort
	at   time.Duration
}

// keep remembers where the caller goes.
func (p *Pool) keep(caller string, addr netip.AddrPort, at time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		p.last = make(map[string]habit)
	}
	p.last[caller] = habit{addr, at}
}

// forget drops what was remembered for too long.
func (p *Pool) forget(now time.Time) {
	at := now.Sub(p.epoch)
	p.mu.Lock()
	defer p.mu.Unlock()
	if at-p.tidied < habitFor/10 {
		return
	}
	p.tidied = at
	for caller, h := range p.last {
		if at-h.at > habitFor {
			delete(p.last, caller)
		}
	}
}

// usual returns the member of the tier that the caller had before, or else the first in the order
// that its name gives them; nil if none can be used.
func (p *Pool) usual(t *tier, caller string, tried []netip.AddrPort, at time.Duration) (best *member) {
	if m := p.had(t, caller); m != nil && m.usable(at) && !slices.Contains(tried, m.Addr) {
		return m
	}
	name, top := hashOf([]byte(caller)), math.Inf(-1)
	for i := t.from; i < t.to; i++ {
		m := &p.members[i]
		if !m.usable(at) || slices.Contains(tried, m.Addr) {
			continue
		}
		if s := score(name, m); s > top {
			best, top = m, s
		}
	}
	return best
}

// had returns the member of the tier where the caller went last, nil if there is none.
func (p *Pool) had(t *tier, caller string) *member {
	p.mu.Lock()
	h, ok := p.last[caller]
	p.mu.Unlock()
	if !ok {
		return nil
	}
	members := p.members[t.from:t.to]
	i, ok := slices.BinarySearchFunc(members, h.addr, func(m member, addr netip.AddrPort) int { return m.Addr.Compare(addr) })
	if !ok {
		return nil
	}
	return &members[i]
}

// score is the caller's preference for a member. Of all callers each member has the first place with
// as many as its weight says, and one that comes or goes changes only the order of its own.
func score(name uint64, m *member) float64 {
	h := mix(name ^ m.hash)
	chance := (float64(h>>11) + 0.5) / (1 << 53) // between 0 and 1
	return float64(m.share()) / -math.Log(chance)
}

// hashOf is the same in every process: FNV-1a.
func hashOf(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return mix(h)
}

func hashOfAddr(addr netip.AddrPort) uint64 {
	ip := addr.Addr().As16()
	return hashOf(binary.BigEndian.AppendUint16(ip[:], addr.Port()))
}

// mix spreads what differs in a few bits over all of them, as the last step of splitmix64 does.
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
