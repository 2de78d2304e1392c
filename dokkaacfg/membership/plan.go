// Package membership plans who is a member of etcd, one step at a time. It is pure: what to do next
// follows from what there is, so whoever takes up where another was killed does what that one would
// have done. See docs/adr/0029-members-of-etcd.md.
package membership

import (
	"fmt"
	"net/netip"
	"slices"
)

// Member is one of etcd's members, as etcd itself lists them.
type Member struct {
	ID      string
	Host    netip.Addr
	Started bool // ever: before that, etcd knows no name of it
	Learner bool // has no vote yet
}

// View is what there is. Members must be what a majority says: that it answered is the proof that
// a majority lives.
type View struct {
	Members []Member
	Hosts   []netip.Addr        // that are to stay, in the order in which they are taken
	Leaving []netip.Addr        // hosts that are there, and are to have no member
	Data    map[netip.Addr]bool // hosts on which etcd has data, of whatever membership
	Running map[netip.Addr]bool // hosts on which etcd runs
}

// Kind is what a step does.
type Kind string

// The kinds of steps.
const (
	Done    Kind = ""        // there is nothing to do
	Add     Kind = "add"     // add the host's member, as a learner
	Start   Kind = "start"   // start the member on its host
	Promote Kind = "promote" // give the learner a vote, as soon as it has caught up
	Remove  Kind = "remove"  // remove the member from etcd
	Clear   Kind = "clear"   // remove what the host, which has no member, still has of one
)

// Step is what to do next.
type Step struct {
	Kind Kind
	Host netip.Addr
	ID   string // of the member, where it is one
	Why  string
	// Hasten says that there are two members with a vote as long as what follows takes.
	Hasten bool
	// Left are the members that are left when one goes that serves until then, sorted.
	Left []netip.Addr
}

func (s Step) String() string { return fmt.Sprintf("%s %s: %s", s.Kind, s.Host, s.Why) }

// Count is how many members there are on so many hosts: an odd number, since an even one loses its
// majority no later and has more that can break.
func Count(hosts int) int {
	switch {
	case hosts < 3:
		return 1
	case hosts < 7:
		return 3
	default:
		return 5
	}
}

// Next is the step that brings etcd nearer to what the hosts call for.
func Next(v View) Step {
	wanted := v.Wanted()
	for _, step := range []func(wanted []netip.Addr) Step{v.removeLost, v.removeLearner, v.start, v.promote, v.add, v.removeVoter, v.clear} {
		if s := step(wanted); s.Kind != Done {
			return s
		}
	}
	return Step{}
}

// Wanted are the hosts that should have a member: those that have one already come first.
func (v View) Wanted() []netip.Addr {
	var voters, learners, others []netip.Addr
	for _, host := range v.Hosts {
		switch m := v.on(host); {
		case m == nil || v.isLost(*m):
			others = append(others, host)
		case m.Learner:
			learners = append(learners, host)
		default:
			voters = append(voters, host)
		}
	}
	all := slices.Concat(voters, learners, others)
	return all[:min(len(all), Count(len(v.Hosts)))]
}

func (v View) on(host netip.Addr) *Member {
	for i, m := range v.Members {
		if m.Host == host {
			return &v.Members[i]
		}
	}
	return nil
}

// isLost tells of a member that cannot come back: its host is gone, or the host has lost the data.
// Started without it, the member would have forgotten what it has voted for.
func (v View) isLost(m Member) bool {
	there := slices.Contains(v.Hosts, m.Host) || slices.Contains(v.Leaving, m.Host)
	return !there || m.Started && !v.Data[m.Host]
}

func (v View) removeLost([]netip.Addr) Step {
	for _, m := range v.Members {
		if v.isLost(m) {
			return Step{Kind: Remove, Host: m.Host, ID: m.ID, Why: "it is lost"}
		}
	}
	return Step{}
}

func (v View) removeLearner(wanted []netip.Addr) Step {
	for _, m := range v.Members {
		if m.Learner && !slices.Contains(wanted, m.Host) {
			return Step{Kind: Remove, Host: m.Host, ID: m.ID, Why: "it is not wanted any more"}
		}
	}
	return Step{}
}

func (v View) start([]netip.Addr) Step {
	for _, m := range v.Members {
		if !v.Running[m.Host] {
			return Step{Kind: Start, Host: m.Host, ID: m.ID, Why: "it does not run"}
		}
	}
	return Step{}
}

// promote comes before add: etcd takes one learner at a time.
func (v View) promote(wanted []netip.Addr) Step {
	for _, m := range v.Members {
		if m.Learner {
			return Step{Kind: Promote, Host: m.Host, ID: m.ID, Why: "it is to have a vote", Hasten: v.voters() == 1 && len(wanted) > 2}
		}
	}
	return Step{}
}

func (v View) voters() (n int) {
	for _, m := range v.Members {
		if !m.Learner {
			n++
		}
	}
	return n
}

func (v View) add(wanted []netip.Addr) Step {
	for _, host := range wanted {
		switch {
		case v.on(host) != nil:
		case v.Data[host] || v.Running[host]:
			return Step{Kind: Clear, Host: host, Why: "it has data of a member that is none any more"}
		default:
			return Step{Kind: Add, Host: host, Why: "it is to be a member"}
		}
	}
	return Step{}
}

// removeVoter comes when all that are wanted have a vote. Those that stay are the majority then,
// or become it with each that goes.
func (v View) removeVoter(wanted []netip.Addr) Step {
	for _, m := range slices.Backward(v.Members) {
		if !slices.Contains(wanted, m.Host) {
			return Step{Kind: Remove, Host: m.Host, ID: m.ID, Why: "it is not wanted any more",
				Left: slices.SortedFunc(slices.Values(wanted), netip.Addr.Compare)}
		}
	}
	return Step{}
}

func (v View) clear([]netip.Addr) Step {
	for _, host := range slices.Concat(v.Hosts, v.Leaving) {
		if v.on(host) == nil && (v.Data[host] || v.Running[host]) {
			return Step{Kind: Clear, Host: host, Why: "it has data of a member that is none any more"}
		}
	}
	return Step{}
}
