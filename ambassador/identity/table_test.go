package identity

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dokkaa/dokkaa/internal/docker"
)

// engineModel is what really is the case at an Engine, and what it says of it. Its list lags behind: it
// may show for a while that a container runs, or is on a network, which has ended. Events are told in
// order, later than they happened; some are told twice, and some are lost.
type engineModel struct {
	now        time.Time
	containers map[string]*modelContainer
	told       []docker.Event // that are on their way
	used       map[netip.Addr]string
}

type modelContainer struct {
	running bool
	addrs   map[string]netip.Addr // by network
	shown   docker.Container      // as the list has it
}

var modelNetworks = []string{"dokkaa", "mine"}

func newEngineModel() *engineModel {
	return &engineModel{now: time.Unix(1_000_000, 0), containers: make(map[string]*modelContainer), used: make(map[netip.Addr]string)}
}

func (m *engineModel) tell(kind, action, id, network string) {
	e := docker.Event{Type: kind, Action: action, ID: id, Attributes: map[string]string{"name": id, labelCluster: "c", labelBackends: labelOf(nil)}}
	if kind == "network" {
		e.ID, e.Attributes = "network-"+network, map[string]string{"container": id, "name": network}
	}
	m.told = append(m.told, e)
}

// free is an address of the network that nobody has, the same for as long as nobody takes it.
func (m *engineModel) free(network string) netip.Addr {
	for i := range 250 {
		addr := netip.AddrFrom4([4]byte{10, byte(slices.Index(modelNetworks, network)), 0, byte(i + 2)})
		if m.used[addr] == "" {
			return addr
		}
	}
	panic("no address is free")
}

// checkpoint brings the list up to date about a container.
func (m *engineModel) checkpoint(id string) {
	c := m.containers[id]
	c.shown = docker.Container{ID: id, Name: id, State: "exited", Labels: map[string]string{labelCluster: "c"}, Addrs: map[string][]netip.Addr{}}
	if c.running {
		c.shown.State = "running"
		for network, addr := range c.addrs {
			c.shown.Addrs[network] = []netip.Addr{addr}
		}
	}
}

func (m *engineModel) join(id, network string) {
	addr := m.free(network)
	m.used[addr], m.containers[id].addrs[network] = id, addr
	m.tell("network", "connect", id, network)
}

func (m *engineModel) part(id, network string) {
	c := m.containers[id]
	delete(m.used, c.addrs[network])
	delete(c.addrs, network)
	m.tell("network", "disconnect", id, network)
}

// start is Docker's: the networks first, then the process, then the list, then the event.
func (m *engineModel) start(id, network string) {
	m.join(id, network)
	m.containers[id].running = true
	m.checkpoint(id)
	m.tell("container", "start", id, "")
}

// die is Docker's: the event first, then the networks. The list is for a later checkpoint.
func (m *engineModel) die(id string) {
	c := m.containers[id]
	c.running = false
	m.tell("container", "die", id, "")
	for _, network := range slices.Sorted(maps.Keys(c.addrs)) {
		m.part(id, network)
	}
}

func (m *engineModel) list() (listed []docker.Container) {
	for _, id := range slices.Sorted(maps.Keys(m.containers)) {
		shown := m.containers[id].shown
		shown.Addrs = maps.Clone(shown.Addrs)
		listed = append(listed, shown)
	}
	return listed
}

// owners is who really has each address, and runs.
func (m *engineModel) owners() map[netip.Addr]string {
	owners := make(map[netip.Addr]string)
	for addr, id := range m.used {
		if m.containers[id].running {
			owners[addr] = id
		}
	}
	return owners
}

func owners(t *table) map[netip.Addr]string {
	owners := make(map[netip.Addr]string)
	for addr, who := range t.owners {
		owners[addr] = who.ID
	}
	return owners
}

// TestNoAddressHasAWrongOwner: whatever happens, and however late and often that is told, the table
// has no owner of an address but its own, once it has been told all; and it has all of them when a
// list is made after things have settled.
func TestNoAddressHasAWrongOwner(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, table := newEngineModel(), newTable()
		var list []docker.Container // on its way
		began, listing, serial := 0, false, 0
		deliver := func(n int) {
			for _, e := range m.told[:n] {
				table.apply(e, m.now)
			}
			m.told = m.told[n:]
		}
		arrive := func() {
			table.replace(list, began, m.now, func(string, error) {})
			listing = false
		}
		pick := func(t *rapid.T, what string, ok func(*modelContainer) bool) string {
			var ids []string
			for _, id := range slices.Sorted(maps.Keys(m.containers)) {
				if ok(m.containers[id]) {
					ids = append(ids, id)
				}
			}
			if len(ids) == 0 {
				t.Skip("no container " + what)
			}
			return rapid.SampledFrom(ids).Draw(t, what)
		}
		runs := func(c *modelContainer) bool { return c.running }
		fresh := func(c *modelContainer) bool { return c.shown.State != "running" }
		t.Repeat(map[string]func(*rapid.T){
			"run": func(t *rapid.T) {
				if len(m.containers) == 3 { // so few that much happens to each
					t.Skip("enough containers")
				}
				serial++
				id := fmt.Sprint("c", serial)
				m.containers[id] = &modelContainer{addrs: map[string]netip.Addr{}}
				m.tell("container", "create", id, "")
				m.start(id, rapid.SampledFrom(modelNetworks).Draw(t, "network"))
			},
			"end": func(t *rapid.T) { m.die(pick(t, "that runs", runs)) },
			"start again": func(t *rapid.T) {
				// The Engine brings its list up to date before it starts a container again.
				id := pick(t, "that has ended", func(c *modelContainer) bool { return !c.running })
				m.checkpoint(id)
				m.start(id, rapid.SampledFrom(modelNetworks).Draw(t, "network"))
			},
			"remove": func(t *rapid.T) {
				id := pick(t, "that has ended", func(c *modelContainer) bool { return !c.running && fresh(c) })
				delete(m.containers, id)
				m.tell("container", "destroy", id, "")
			},
			"join": func(t *rapid.T) {
				id := pick(t, "on one network", func(c *modelContainer) bool { return c.running && len(c.addrs) == 1 })
				for _, network := range modelNetworks {
					if !m.containers[id].addrs[network].IsValid() {
						m.checkpoint(id) // what it left before is not shown any more
						m.join(id, network)
						m.checkpoint(id)
						return
					}
				}
			},
			"part": func(t *rapid.T) {
				id := pick(t, "on a network", func(c *modelContainer) bool { return c.running && len(c.addrs) > 0 })
				m.part(id, rapid.SampledFrom(slices.Sorted(maps.Keys(m.containers[id].addrs))).Draw(t, "network"))
			},
			"checkpoint": func(t *rapid.T) { m.checkpoint(pick(t, "at all", func(*modelContainer) bool { return true })) },
			"tell":       func(*rapid.T) { deliver(len(m.told)) },
			"tell some":  func(t *rapid.T) { deliver(rapid.IntRange(0, len(m.told)).Draw(t, "events")) },
			"tell twice": func(t *rapid.T) { // as after a new connection
				n := rapid.IntRange(0, len(m.told)).Draw(t, "events")
				again := slices.Clone(m.told[:n])
				deliver(n)
				m.told = append(again, m.told...)
			},
			"begin a list": func(t *rapid.T) {
				if listing {
					t.Skip("there is one")
				}
				began, listing, list = table.seq, true, m.list()
			},
			"have the list": func(t *rapid.T) {
				if !listing {
					t.Skip("there is none")
				}
				arrive()
			},
			"": func(t *rapid.T) {
				if len(m.told) > 0 {
					return // who ended may be told later; on a real Engine before its address is used again
				}
				real := m.owners()
				for addr, id := range owners(table) {
					if real[addr] != id {
						t.Fatalf("%s is %q's by the table, and %q's in truth", addr, id, real[addr])
					}
				}
			},
		})
		if listing {
			arrive()
		}
		deliver(len(m.told))
		for id := range m.containers {
			m.checkpoint(id)
		}
		began, list = table.seq, m.list()
		arrive()
		if got, want := owners(table), m.owners(); !maps.Equal(got, want) {
			t.Fatalf("at last the table has %v, want %v", got, want)
		}
		if len(table.left) > 0 {
			t.Errorf("still remembers %v", table.left)
		}
	})
}

// TestLostEventsAreMadeGood: what no event told, a list does, and a wrong belief does not last.
func TestLostEventsAreMadeGood(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, table := newEngineModel(), newTable()
		for i := range rapid.IntRange(1, 10).Draw(t, "containers") {
			id := fmt.Sprint("c", i)
			m.containers[id] = &modelContainer{addrs: map[string]netip.Addr{}}
			m.start(id, rapid.SampledFrom(modelNetworks).Draw(t, "network"))
			if rapid.Bool().Draw(t, "ends") {
				m.die(id)
				if rapid.Bool().Draw(t, "starts again") {
					m.start(id, rapid.SampledFrom(modelNetworks).Draw(t, "network"))
				}
			}
			m.checkpoint(id)
		}
		for _, e := range m.told {
			if rapid.Bool().Draw(t, "told") {
				table.apply(e, m.now)
			}
		}
		m.now = m.now.Add(staleFor + time.Second)
		table.replace(m.list(), table.seq, m.now, func(string, error) {})
		if got, want := owners(table), m.owners(); !maps.Equal(got, want) {
			t.Fatalf("the table has %v, want %v", got, want)
		}
	})
}
