package dokkaacfg

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/dokkaa/dokkaa/internal/state"
)

type hostReport struct {
	IP           string             `json:"ip"`
	State        string             `json:"state"`
	Reason       string             `json:"reason,omitempty"`
	Availability state.Availability `json:"availability,omitempty"`
	Version      string             `json:"version,omitempty"`
	Arch         string             `json:"arch,omitempty"`
	CPUs         float64            `json:"cpus,omitempty"`
	Memory       int64              `json:"memory,omitempty"`
	Labels       map[string]string  `json:"labels,omitempty"`
	// OperatorLabels are those among the labels that the host did not bring itself.
	OperatorLabels map[string]string `json:"operator_labels,omitempty"`
	Containers     int               `json:"containers"`
}

// States of a host.
const (
	hostReady   = "ready"
	hostClosed  = "closed" // it takes no new containers
	hostLost    = "lost"
	hostGhost   = "ghost"   // its lease is one that no conductor wrote
	hostUnknown = "unknown" // its lease cannot be read
)

// hostReports tell of all hosts. A key that cannot be read is told of with its host.
func (i inventory) hostReports() []hostReport {
	var all []hostReport
	for _, ip := range i.addresses() {
		h := i.hosts[ip]
		r := hostReport{IP: ip, Availability: h.availability, Version: h.said.Version, Arch: h.said.Arch, CPUs: h.said.CPUs,
			Memory: h.said.Memory, Labels: h.allLabels(), OperatorLabels: h.labels, Containers: len(h.instances)}
		r.State, r.Reason = h.state()
		r.Reason = joinText(append([]string{r.Reason}, h.unreadable...)...)
		all = append(all, r)
	}
	return all
}

// state is how a host is, and why.
func (h *hostKeys) state() (is, reason string) {
	switch {
	case h.lost():
		return hostLost, "it has no lease: its conductor, or the way to it, is down"
	case h.leaseErr != nil:
		return hostUnknown, ""
	case h.lease.TTL == 0:
		return hostGhost, "its lease never ends: no conductor wrote it"
	case h.said.Condition != "":
		return hostClosed, h.said.Condition
	}
	return hostReady, ""
}

// addresses are those of all hosts, in order.
func (i inventory) addresses() []string {
	return slices.SortedFunc(maps.Keys(i.hosts), compareAddresses)
}

// compareAddresses puts 10.0.0.9 before 10.0.0.10, and what is no address first.
func compareAddresses(a, b string) int {
	// The zero value, which is what an error leaves, is less than any address.
	addrA, _ := netip.ParseAddr(a)
	addrB, _ := netip.ParseAddr(b)
	return cmp.Or(addrA.Compare(addrB), cmp.Compare(a, b))
}

// shown is the host's state for people, with what the operator allows it, and why.
func (h hostReport) shown() (is, why string) {
	allowed, means := "", ""
	switch h.Availability {
	case "":
		return h.State, h.Reason
	case state.Cordoned:
		allowed, means = "cordoned", "it takes nothing new"
	case state.Drained:
		allowed, means = "drained", "it is empty"
		if h.Containers > 0 {
			allowed, means = "draining", fmt.Sprintf("what it has moves to other hosts: %d left", h.Containers)
		}
	default:
		allowed, means = string(h.Availability), state.AvailabilityKey(h.IP)+" is neither drain nor cordon"
	}
	if h.State == hostReady {
		return allowed, joinText(means, h.Reason)
	}
	return h.State + ", " + allowed, h.Reason
}

// listLabels are labels in the form in which they are given.
func listLabels(labels map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		all = append(all, key+"="+labels[key])
	}
	return strings.Join(all, ",")
}
