package membership

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func host(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}) }

func hosts(numbers ...int) (all []netip.Addr) {
	for _, n := range numbers {
		all = append(all, host(n))
	}
	return all
}

func TestCount(t *testing.T) {
	for hosts, want := range map[int]int{1: 1, 2: 1, 3: 3, 4: 3, 6: 3, 7: 5, 200: 5} {
		if got := Count(hosts); got != want {
			t.Errorf("%d hosts: %d members, want %d", hosts, got, want)
		}
	}
}

// cluster is etcd on hosts that may be lost, as far as membership goes.
type cluster struct {
	members []Member
	there   []netip.Addr // hosts
	data    map[netip.Addr]string
	runs    map[netip.Addr]bool
	next    int // id
}

// newCluster is one that was started with members on the hosts.
func newCluster(on ...int) *cluster {
	c := &cluster{data: map[netip.Addr]string{}, runs: map[netip.Addr]bool{}}
	for _, h := range hosts(on...) {
		c.there = append(c.there, h)
		c.next++
		id := fmt.Sprint("m", c.next)
		c.members = append(c.members, Member{ID: id, Host: h, Started: true})
		c.data[h], c.runs[h] = id, true
	}
	return c
}

func (c *cluster) view(stay []netip.Addr) View {
	v := View{Members: slices.Clone(c.members), Hosts: stay, Data: map[netip.Addr]bool{}, Running: map[netip.Addr]bool{}}
	for _, h := range c.there {
		v.Data[h], v.Running[h] = c.data[h] != "", c.runs[h]
		if !slices.Contains(stay, h) {
			v.Leaving = append(v.Leaving, h)
		}
	}
	return v
}

// lives tells whether a majority of those with a vote takes part.
func (c *cluster) lives() bool {
	voters, alive := 0, 0
	for _, m := range c.members {
		if !m.Learner {
			voters++
			if c.runs[m.Host] && c.data[m.Host] == m.ID {
				alive++
			}
		}
	}
	return alive > voters/2
}

func (c *cluster) voters() int { return View{Members: c.members}.voters() }

func (c *cluster) index(id string) int {
	return slices.IndexFunc(c.members, func(m Member) bool { return m.ID == id })
}

// do does what etcd and an engine would, or refuses as they would.
func (c *cluster) do(s Step) error {
	at := c.index(s.ID)
	switch s.Kind {
	case Add:
		if slices.ContainsFunc(c.members, func(m Member) bool { return m.Learner || m.Host == s.Host }) {
			return errors.New("there is a learner, or this very member")
		}
		c.next++
		c.members = append(c.members, Member{ID: fmt.Sprint("m", c.next), Host: s.Host, Learner: true})
	case Start:
		if c.data[s.Host] != "" && c.data[s.Host] != s.ID {
			return errors.New("there is data of another member")
		}
		if c.members[at].Started && c.data[s.Host] == "" {
			return errors.New("a member would come back without its memory")
		}
		c.data[s.Host], c.runs[s.Host], c.members[at].Started = s.ID, true, true
	case Promote:
		if !c.members[at].Started {
			return errors.New("the learner does not run")
		}
		c.members[at].Learner = false
	case Remove:
		c.members = slices.Delete(c.members, at, at+1)
	case Clear:
		if slices.ContainsFunc(c.members, func(m Member) bool { return m.Host == s.Host }) {
			return errors.New("the data of a member")
		}
		c.data[s.Host], c.runs[s.Host] = "", false
	}
	return nil
}

// settle takes the steps that are left, and fails where one is wrong or there is no end of them.
// Each is one that may have been the last of a call that was killed.
func (c *cluster) settle(stay []netip.Addr) (steps []string, err error) {
	for range 100 {
		s := Next(c.view(stay))
		if s.Kind == Done {
			return steps, c.isRight(stay)
		}
		steps = append(steps, fmt.Sprintf("%s %d", s.Kind, s.Host.As4()[3]))
		if err := c.do(s); err != nil {
			return steps, fmt.Errorf("%s: %w", s, err)
		}
		if !c.lives() {
			return steps, fmt.Errorf("%s: no majority is left of %v", s, c.members)
		}
	}
	return steps, errors.New("it does not come to an end")
}

// isRight says what is not as it should be at the end.
func (c *cluster) isRight(stay []netip.Addr) error {
	if got := c.voters(); got != Count(len(stay)) || len(c.members) != got {
		return fmt.Errorf("%d of %d members have a vote, want %d", got, len(c.members), Count(len(stay)))
	}
	for _, h := range c.there {
		is := slices.ContainsFunc(c.members, func(m Member) bool { return m.Host == h && c.data[h] == m.ID && c.runs[h] })
		if is != (c.data[h] != "") || is && !slices.Contains(stay, h) {
			return fmt.Errorf("host %s has %q of %v", h, c.data[h], c.members)
		}
	}
	return nil
}

func (c *cluster) lose(h netip.Addr) {
	c.there = slices.DeleteFunc(c.there, func(other netip.Addr) bool { return other == h })
	delete(c.data, h)
	delete(c.runs, h)
}

func TestSteps(t *testing.T) {
	tests := []struct {
		name  string
		on    []int // members
		there []int // further hosts
		lost  []int
		stay  []int
		want  string
	}{
		{"as it should be", []int{1, 2, 3}, nil, nil, []int{1, 2, 3}, ""},
		{"a second host", []int{1}, []int{2}, nil, []int{1, 2}, ""},
		{"from one to three", []int{1}, []int{2, 3}, nil, []int{1, 2, 3}, "add 2, start 2, promote 2, add 3, start 3, promote 3"},
		{"from three to one", []int{1, 2, 3}, nil, nil, []int{1, 2}, "remove 3, remove 2, clear 2, clear 3"},
		{"a host leaves, another takes its place", []int{1, 2, 3}, []int{4}, nil, []int{1, 3, 4}, "add 4, start 4, promote 4, remove 2, clear 2"},
		{"the only member's host leaves", []int{1}, []int{2}, nil, []int{2}, "add 2, start 2, promote 2, remove 1, clear 1"},
		{"a host is gone, and there is another", []int{1, 2, 3}, []int{4}, []int{2}, []int{1, 3, 4}, "remove 2, add 4, start 4, promote 4"},
		{"a host is gone for good", []int{1, 2, 3}, nil, []int{3}, []int{1, 2}, "remove 3, remove 2, clear 2"},
		{"seven hosts", []int{1, 2, 3}, []int{4, 5, 6, 7}, nil, []int{1, 2, 3, 4, 5, 6, 7}, "add 4, start 4, promote 4, add 5, start 5, promote 5"},
		{"fewer than seven", []int{1, 2, 3, 4, 5}, []int{6, 7}, nil, []int{1, 2, 3, 4, 5, 6}, "remove 5, remove 4, clear 4, clear 5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(tt.on...)
			c.there = append(c.there, hosts(tt.there...)...)
			for _, n := range tt.lost {
				c.lose(host(n))
			}
			steps, err := c.settle(hosts(tt.stay...))
			if got := strings.Join(steps, ", "); got != tt.want || err != nil {
				t.Errorf("steps: %s (%v)\nwant:  %s", got, err, tt.want)
			}
		})
	}
}

// A host whose disk was replaced has lost its member, though it is there.
func TestDataIsLost(t *testing.T) {
	c := newCluster(1, 2, 3)
	c.data[host(2)], c.runs[host(2)] = "", false
	steps, err := c.settle(hosts(1, 2, 3))
	if got := strings.Join(steps, ", "); got != "remove 2, add 2, start 2, promote 2" || err != nil {
		t.Errorf("steps: %s (%v)", got, err)
	}
}

// Only on the way from one member to three is there haste.
func TestHaste(t *testing.T) {
	c := newCluster(1)
	c.there = append(c.there, hosts(2, 3)...)
	var haste []int
	for n := 0; ; n++ {
		s := Next(c.view(hosts(1, 2, 3)))
		if s.Kind == Done {
			break
		}
		if s.Hasten {
			haste = append(haste, n)
		}
		if err := c.do(s); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(haste, []int{2}) {
		t.Errorf("haste at steps %v, want 2, the first promotion", haste)
	}
}

// Whatever hosts come, leave and are lost, and after whichever step a call is killed: as long as a
// majority lives, the next call that is let finish ends with the members that there should be, and
// none of its steps costs the majority.
func TestEveryWayEndsWell(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCluster(1)
		stay := hosts(1)
		newest := 1
		for range rapid.IntRange(1, 12).Draw(t, "changes") {
			switch rapid.IntRange(0, 3).Draw(t, "change") {
			case 0, 1: // up with more hosts
				for range rapid.IntRange(1, 6).Draw(t, "more") {
					newest++
					c.there = append(c.there, host(newest))
				}
				stay = slices.Clone(c.there)
			case 2: // scale down
				if len(stay) > 1 {
					at := rapid.IntRange(0, len(stay)-1).Draw(t, "leaves")
					stay = slices.Delete(slices.Clone(stay), at, at+1)
				}
			case 3: // a host is lost, or its data
				h := rapid.SampledFrom(c.there).Draw(t, "lost")
				before := *c
				before.there, before.data, before.runs = slices.Clone(c.there), cloned(c.data), cloned(c.runs)
				c.lose(h)
				if rapid.Bool().Draw(t, "only its data") {
					c.there = slices.Clone(before.there)
				} else {
					stay = slices.DeleteFunc(slices.Clone(stay), func(other netip.Addr) bool { return other == h })
				}
				if !c.lives() || len(stay) == 0 {
					*c, stay = before, slices.Clone(before.there) // that is not for this plan to mend
				}
			}
			for range rapid.IntRange(0, 6).Draw(t, "steps before the call is killed") {
				s := Next(c.view(stay))
				if s.Kind == Done {
					break
				}
				if err := c.do(s); err != nil || !c.lives() {
					t.Fatalf("%s: %v, of %v", s, err, c.members)
				}
			}
		}
		if steps, err := c.settle(stay); err != nil {
			t.Fatalf("after %v: %v", steps, err)
		}
		if s := Next(c.view(stay)); s.Kind != Done {
			t.Fatalf("and again: %s", s)
		}
	})
}

func cloned[K comparable, V any](m map[K]V) map[K]V {
	all := map[K]V{}
	for k, v := range m {
		all[k] = v
	}
	return all
}
