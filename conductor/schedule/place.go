package schedule

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/dokkaa/dokkaa/internal/state"
)

// brake is the share of hosts, in percent, that must be missing for nothing to be moved: then the
// fault is more likely ours than theirs, and moving everything would make it worse.
const brake = 55

// placement knows how many instances each host has, and gives the next one to the emptiest.
type placement struct {
	hosts  map[string]Host
	total  map[string]int               // instances by host
	of     map[state.Ref]map[string]int // of a container, by host
	braked bool
}

func newPlacement(in Input) *placement {
	p := &placement{hosts: in.Hosts, total: map[string]int{}, of: map[state.Ref]map[string]int{}}
	for ref, app := range in.Apps {
		for _, slot := range app.Slots {
			for _, a := range []*state.Assignment{slot.Current, slot.Next} {
				if a != nil {
					p.add(ref, a.Host, 1)
				}
			}
		}
	}
	p.braked = Braked(in.Hosts)
	return p
}

// Braked tells whether so many hosts are missing that nothing may be moved or withdrawn for it.
func Braked(hosts map[string]Host) bool {
	missing := 0
	for _, host := range hosts {
		if host.Liveness != Alive {
			missing++
		}
	}
	return len(hosts) > 0 && missing*100 >= len(hosts)*brake
}

func (p *placement) add(ref state.Ref, host string, n int) {
	p.total[host] += n
	if p.of[ref] == nil {
		p.of[ref] = map[string]int{}
	}
	p.of[ref][host] += n
}

// pick chooses the host for one more instance: the one with the fewest instances, among these
// the one with the fewest of the same container. If none will do, why says so, with counts.
func (p *placement) pick(ref state.Ref) (host, why string) {
	var fit []string
	refused := map[string]int{}
	for ip, h := range p.hosts {
		switch {
		case h.Liveness != Alive:
			refused["lost"]++
		case h.Condition != "":
			refused[h.Condition]++
		default:
			fit = append(fit, ip)
		}
	}
	if len(fit) == 0 {
		return "", noSuitableHost(refused)
	}
	host = slices.MinFunc(fit, func(a, b string) int {
		return cmp.Or(cmp.Compare(p.total[a], p.total[b]), cmp.Compare(p.of[ref][a], p.of[ref][b]), compareIPs(a, b))
	})
	p.add(ref, host, 1)
	return host, ""
}

// fits tells whether a host takes new instances.
func (p *placement) fits(host string) bool {
	h, known := p.hosts[host]
	return known && h.Liveness == Alive && h.Condition == ""
}

// lost tells whether a host is positively gone. One that the cluster does not know was forgotten on
// purpose: what it knows of a host outlives the host's lease.
func (p *placement) lost(host string) bool {
	h, known := p.hosts[host]
	return !known || h.Liveness == Lost
}

func noSuitableHost(refused map[string]int) string {
	if len(refused) == 0 {
		return "no suitable host (no host has joined)"
	}
	var counts []string
	for _, reason := range slices.Sorted(maps.Keys(refused)) {
		counts = append(counts, fmt.Sprintf("%d: %s", refused[reason], reason))
	}
	return "no suitable host (" + strings.Join(counts, ", ") + ")"
}

func compareIPs(a, b string) int {
	ipA, errA := netip.ParseAddr(a)
	ipB, errB := netip.ParseAddr(b)
	if errA != nil || errB != nil {
		return cmp.Compare(a, b)
	}
	return ipA.Compare(ipB)
}
