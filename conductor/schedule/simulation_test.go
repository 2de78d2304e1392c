package schedule_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
)

// simulated is the size of TestSimulation: go test ./conductor/schedule -run Simulation -v -hosts 1000
var simulated = flag.Int("hosts", 20, "hosts of the simulated cluster, with 50 instances each")

// model is a store with the real keys, one planner that is told of each change, and hosts that do
// at once what they are told to.
type model struct {
	t       testing.TB
	keys    map[string]schedule.Node
	index   uint64
	hosts   map[string]schedule.Host
	seen    map[string]schedule.Node // what hosts reported, by key
	ids     int
	now     time.Time
	planner *schedule.Planner

	passes, changes int
	longest         time.Duration // of a pass
}

func newModel(t testing.TB, hosts int) *model {
	m := &model{t: t, keys: map[string]schedule.Node{}, hosts: map[string]schedule.Host{}, seen: map[string]schedule.Node{},
		now: time.Date(2014, 6, 1, 12, 0, 0, 0, time.UTC)}
	for i := range hosts {
		ip := fmt.Sprintf("10.%d.%d.1", i/250, i%250)
		m.hosts[ip] = schedule.Host{Host: state.Host{IP: ip}}
	}
	m.begin()
	return m
}

func (m *model) newID() string { m.ids++; return fmt.Sprintf("id%d", m.ids) }

// begin has a planner begin that knows only what stands in the store.
func (m *model) begin() {
	m.planner = schedule.NewPlanner(m.newID)
	for _, keys := range []map[string]schedule.Node{m.keys, m.seen} {
		for _, n := range keys {
			m.planner.Set(n, m.now)
		}
	}
	m.planner.SetHosts(maps.Clone(m.hosts))
}

// deploy puts so many containers of 50 instances each that every host has its 50.
func (m *model) deploy(image string) {
	for i := range len(m.hosts) {
		m.put(state.Ref{App: "app", Name: fmt.Sprintf("c%d", i)}.ManifestKey(), fmt.Sprintf(
			`{"image": %q, "scale": 50, "services": {"c%d": 80}, "update": {"max_parallel": 5}}`, image, i))
	}
}

func (m *model) put(key, value string) {
	m.index++
	n := schedule.Node{Key: key, Value: value, Created: m.index, Modified: m.index}
	if old, there := m.keys[key]; there {
		n.Created = old.Created
	}
	m.keys[key] = n
	m.planner.Set(n, m.now)
}

func (m *model) judge(ip string, change func(*schedule.Host)) {
	h := m.hosts[ip]
	change(&h)
	m.hosts[ip] = h
}

// settle plans, and carries out, until nothing is left to do. Half-way another scheduler takes over.
func (m *model) settle(what string) {
	m.t.Helper()
	m.passes, m.changes, m.longest = 0, 0, 0
	began := time.Now()
	for {
		m.planner.SetHosts(maps.Clone(m.hosts))
		start := time.Now()
		plan, _ := m.planner.Plan(m.now)
		m.longest = max(m.longest, time.Since(start))
		if len(plan) == 0 {
			break
		}
		if m.passes++; m.passes > 20*len(m.hosts)+5000 { // instances are moved one by one
			m.t.Fatalf("%s: does not come to rest: %+v", what, plan[0])
		}
		m.changes += len(plan)
		for _, c := range plan {
			m.apply(c)
		}
		if m.passes == 3 {
			m.begin()
		}
	}
	m.t.Logf("%-28s %5d passes, %7d changes, longest pass %8s, in all %8s", what, m.passes, m.changes,
		m.longest.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
}

func (m *model) apply(c schedule.Change) {
	old, there := m.keys[c.Key]
	switch {
	case c.Kind == schedule.Create && there, c.Kind == schedule.Swap && (!there || old.Modified != c.PrevIndex),
		c.Kind == schedule.Delete && !there:
		m.t.Fatalf("%s %s: the key is at %d", c.Kind, c.Key, old.Modified)
	case c.Kind == schedule.Delete:
		delete(m.keys, c.Key)
		m.planner.Unset(c.Key)
	case c.Kind != schedule.Prune:
		m.put(c.Key, c.Value)
	default:
		return
	}
	if k, ok := state.ParseAppKey(c.Key); ok && k.Kind == "hosts" {
		m.work(k, old.Value, c.Value)
	}
}

// work has the hosts of a slot do what it says: what it names is healthy, the rest is gone.
func (m *model) work(k state.AppKey, before, after string) {
	named := map[string]bool{}
	for _, a := range assignments(m.t, after) {
		named[a.Instance] = true
		h := m.hosts[a.Host]
		if _, known := m.seen[state.InstanceKey(a.Host, a.Instance)]; known || h.Liveness != schedule.Alive {
			continue
		}
		if h.Availability != "" && a.Reason != state.ReasonFound {
			m.t.Fatalf("%s: %+v is assigned to a host that takes nothing", k.SlotKey(k.Item), a)
		}
		value, err := json.Marshal(state.Observed{Ref: k.Ref, Slot: k.Item, Revision: a.Revision, Phase: state.PhaseHealthy, Steady: true, Image: "sha256:1"})
		if err != nil {
			m.t.Fatal(err)
		}
		n := schedule.Node{Key: state.InstanceKey(a.Host, a.Instance), Value: string(value)}
		m.seen[n.Key] = n
		m.planner.Set(n, m.now)
	}
	for _, a := range assignments(m.t, before) {
		if !named[a.Instance] {
			delete(m.seen, state.InstanceKey(a.Host, a.Instance))
			m.planner.Unset(state.InstanceKey(a.Host, a.Instance))
		}
	}
}

func assignments(t testing.TB, value string) (all []*state.Assignment) {
	var s state.Slot
	if value == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(value), &s); err != nil {
		t.Fatal(err)
	}
	for _, a := range []*state.Assignment{s.Current, s.Next} {
		if a != nil {
			all = append(all, a)
		}
	}
	return all
}

// loads are the numbers of instances on the hosts that take some, in order.
func (m *model) loads() []int {
	counts := map[string]int{}
	for ip, h := range m.hosts {
		if h.Liveness == schedule.Alive && h.Availability == "" {
			counts[ip] = 0
		}
	}
	for key := range m.seen {
		if k, _ := state.ParseHostKey(key); m.hosts[k.IP].Liveness == schedule.Alive {
			counts[k.IP]++
		}
	}
	return slices.Sorted(maps.Values(counts))
}

// balanced: every wanted instance runs, and no host has two more than another.
func (m *model) balanced(wanted int) {
	m.t.Helper()
	loads, total := m.loads(), 0
	for _, n := range loads {
		total += n
	}
	if total != wanted || loads[len(loads)-1]-loads[0] > 1 {
		m.t.Errorf("%d of %d run, %d to %d on a host", total, wanted, loads[0], loads[len(loads)-1])
	}
}

// TestSimulation takes a cluster through what changes everything, each time with a scheduler that
// takes over in the middle.
func TestSimulation(t *testing.T) {
	m := newModel(t, *simulated)
	wanted := 50 * *simulated
	m.deploy("one")
	m.settle("cold placement")
	m.balanced(wanted)

	ips := slices.Sorted(maps.Keys(m.hosts))
	before := maps.Clone(m.seen)
	lost := map[string]bool{}
	for _, ip := range ips[:len(ips)/10] {
		lost[ip] = true
		m.judge(ip, func(h *schedule.Host) { h.Liveness, h.Silent, h.Gone = schedule.Lost, m.now, m.now })
	}
	m.settle("a tenth of the hosts lost")
	m.balanced(wanted)
	moved := 0 // on the other hosts, for the sake of balance
	for key := range before {
		if k, _ := state.ParseHostKey(key); !lost[k.IP] && m.seen[key].Key == "" {
			moved++
		}
	}
	if t.Logf("%d of %d others were moved", moved, wanted); moved > wanted/100 {
		t.Errorf("%d others were moved", moved)
	}
	for _, ip := range ips[:len(ips)/10] { // what they had is not theirs any more
		m.judge(ip, func(h *schedule.Host) { h.Liveness, h.Silent, h.Gone = schedule.Alive, time.Time{}, time.Time{} })
		for key := range m.seen {
			if k, _ := state.ParseHostKey(key); k.IP == ip {
				delete(m.seen, key)
				m.planner.Unset(key)
			}
		}
	}
	m.settle("they are back")
	m.balanced(wanted)

	m.deploy("two")
	m.settle("a rolling update of all")
	m.balanced(wanted)
	for _, ip := range ips[:max(len(ips)/100, 1)] {
		m.judge(ip, func(h *schedule.Host) { h.Availability = state.Drained })
	}
	m.settle("a hundredth of them drained")
	m.balanced(wanted)
}

// BenchmarkPlan is a pass: of a planner that begins, and of one that knows all but what changed.
func BenchmarkPlan(b *testing.B) {
	for _, hosts := range []int{10, 100, 1000} {
		if testing.Short() && hosts > 100 {
			b.Skip("takes minutes")
		}
		m := newModel(b, hosts)
		m.deploy("one")
		m.settle("cold placement")
		run := func(name string, before, change, back func()) {
			b.Run(fmt.Sprintf("%s/%d hosts", name, hosts), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					before()
					b.StartTimer()
					change()
					m.planner.SetHosts(maps.Clone(m.hosts))
					m.planner.Plan(m.now)
					b.StopTimer()
					back()
					m.planner.SetHosts(maps.Clone(m.hosts))
					m.planner.Plan(m.now)
					b.StartTimer()
				}
			})
		}
		ip := slices.Sorted(maps.Keys(m.hosts))[0]
		manifest := m.keys[state.Ref{App: "app", Name: "c1"}.ManifestKey()]
		var instance schedule.Node
		for _, key := range slices.Sorted(maps.Keys(m.seen)) {
			instance = m.seen[key]
			break
		}
		none := func() {}
		run("full", m.begin, none, none)
		run("full, told of all", none, m.begin, none)
		run("instance changed", none, func() {
			var o state.Observed
			if err := json.Unmarshal([]byte(instance.Value), &o); err != nil {
				b.Fatal(err)
			}
			o.Phase, o.Steady = state.PhaseRunning, false
			value, err := json.Marshal(o)
			if err != nil {
				b.Fatal(err)
			}
			m.planner.Set(schedule.Node{Key: instance.Key, Value: string(value)}, m.now)
		}, func() { m.planner.Set(instance, m.now) })
		run("manifest written", none, func() {
			again := manifest
			again.Modified++
			m.planner.Set(again, m.now)
		}, func() { m.planner.Set(manifest, m.now) })
		run("host lost", none, func() {
			m.judge(ip, func(h *schedule.Host) { h.Liveness, h.Silent, h.Gone = schedule.Lost, m.now, m.now })
		}, func() {
			m.judge(ip, func(h *schedule.Host) { h.Liveness, h.Silent, h.Gone = schedule.Alive, time.Time{}, time.Time{} })
		})
	}
}
