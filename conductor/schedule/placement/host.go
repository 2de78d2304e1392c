package placement

import (
	"cmp"
	"maps"
	"math"
	"net/netip"
)

// Host is what a host offers.
type Host struct {
	IP, Arch string
	Labels   map[string]string
	CPUs     float64 // cores; 0: unknown, and then nothing that is reserved is refused
	Memory   int64   // bytes; 0: as above
	Refuses  string  // why it takes nothing new ("lost", "cordoned"), "" if it does
}

func (h Host) equal(o Host) bool {
	return h.sameAttributes(o) && h.CPUs == o.CPUs && h.Memory == o.Memory && h.Refuses == o.Refuses
}

// sameAttributes tells whether no condition can tell the two, which have one IP, apart.
func (h Host) sameAttributes(o Host) bool {
	return h.Arch == o.Arch && maps.Equal(h.Labels, o.Labels)
}

// host is a Host with what is placed there.
type host struct {
	Host
	known   bool // one of SetHosts'; else only something is counted there
	index   int  // its place in tables by host
	rank    int  // its place in the order of IPs
	version int  // of its attributes, never the same for two hosts

	total  int              // instances
	cpus   int64            // reserved, in millionths of a core: integers add up the same in any order
	memory int64            // reserved
	ports  map[hostPort]int // instances by fixed port
	used   float64          // share of what it has that is reserved, cpus and memory added
}

// open tells whether it takes new instances at all.
func (h *host) open() bool { return h.known && h.Refuses == "" }

func (h *host) count(d *Demand, n int) {
	h.total += n
	h.cpus += int64(n) * d.cpus
	h.memory += int64(n) * d.memory
	for _, p := range d.ports {
		if h.ports == nil {
			h.ports = map[hostPort]int{}
		}
		if h.ports[p.number] += n; h.ports[p.number] == 0 {
			delete(h.ports, p.number)
		}
	}
	h.weigh()
}

func (h *host) weigh() {
	h.used = 0
	if h.CPUs > 0 {
		h.used += float64(h.cpus) / float64(millionths(h.CPUs))
	}
	if h.Memory > 0 {
		h.used += float64(h.memory) / float64(h.Memory)
	}
}

// byLoad orders hosts by who gets the next instance if nothing else tells them apart.
func byLoad(a, b *host) int {
	switch {
	case a.total != b.total:
		return a.total - b.total
	case a.used != b.used:
		return cmp.Compare(a.used, b.used)
	}
	return a.rank - b.rank
}

func byIP(a, b *host) int {
	ipA, errA := netip.ParseAddr(a.IP)
	ipB, errB := netip.ParseAddr(b.IP)
	if errA != nil || errB != nil {
		return cmp.Compare(a.IP, b.IP)
	}
	return ipA.Compare(ipB)
}

func millionths(cores float64) int64 { return int64(math.Round(cores * 1e6)) }
