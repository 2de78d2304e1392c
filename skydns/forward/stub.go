package forward

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/miekg/dns"
)

// Stubs are the zones that have nameservers of their own.
type Stubs struct {
	options Options // all but the nameservers
	zones   atomic.Pointer[map[string]*Forwarder]

	mu sync.Mutex // of those who change zones
	wg sync.WaitGroup
}

// NewStubs returns no zones yet. Of the options, the nameservers and the cache do not count:
// the zones' own servers are near, and fresh.
func NewStubs(options Options) *Stubs {
	options.Mark, options.Cache = true, CacheOptions{}
	s := &Stubs{options: options}
	s.zones.Store(&map[string]*Forwarder{})
	return s
}

// Set replaces the zones by those of servers, whose names are in lower case with the final dot.
// It says whether that changed anything. Queries in hand are answered as they would have been.
func (s *Stubs) Set(servers map[string][]netip.AddrPort) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, zones := *s.zones.Load(), make(map[string]*Forwarder, len(servers))
	for name, addrs := range servers {
		if known := old[name]; known != nil && slices.Equal(known.options.Nameservers, addrs) {
			zones[name] = known
			continue
		}
		options := s.options
		options.Nameservers = slices.Clone(addrs)
		zones[name], changed = New(options), true
	}
	s.zones.Store(&zones)
	for name, f := range old {
		if zones[name] != f {
			changed = true
			s.wg.Go(f.Close)
		}
	}
	return changed
}

// Find returns the forwarder of the longest zone that name, in lower case, is in or is; nil if
// there is none.
func (s *Stubs) Find(name string) *Forwarder {
	zones := *s.zones.Load()
	if len(zones) == 0 {
		return nil
	}
	for at, end := 0, false; !end; at, end = dns.NextLabel(name, at) {
		if f := zones[name[at:]]; f != nil {
			return f
		}
	}
	return zones["."]
}

// Names are the zones, sorted.
func (s *Stubs) Names() []string { return slices.Sorted(maps.Keys(*s.zones.Load())) }

// Close waits for the questions that are asked, and closes all sockets.
func (s *Stubs) Close() {
	s.Set(nil)
	s.wg.Wait()
}

// Marked says whether a query was sent to a stub zone's server by a SkyDNS before: it came back,
// and must not go out again.
func Marked(req *dns.Msg) bool {
	opt := req.IsEdns0()
	if opt == nil {
		return false
	}
	return slices.ContainsFunc(opt.Option, func(o dns.EDNS0) bool { return o.Option() == markOption })
}
