package schedule_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// Leases in the model are those of a real cluster.
const (
	leaseTime = 8 * time.Second
	patience  = 4 * time.Second // that a new scheduler has with hosts that it never heard of
	// fenced is how long after its host was lost a container of a volume's only writer may still run.
	fenced = 4*time.Second - time.Millisecond
)

// member is a host of the cluster, with what really runs there.
type member struct {
	schedule.Host // as the scheduler judges it
	c             *cluster
	reachable     bool // it reads and writes keys
	fenceAt       time.Time
	epoch         int // counts the times that it came or went
	looking       bool
	has           map[string]*instance
}

// instance is a container on a host.
type instance struct {
	place
	id         string
	on         *member
	spec       spec
	phase      state.Phase
	steady     bool
	gaveUp     bool
	ended      bool
	image      string
	reason     string
	exit       *int
	up         bool // it runs, and has its volumes
	stopping   bool
	life       int // counts its starts: what was to come of an earlier one does not
	publishing bool
}

// join adds a host.
func (c *cluster) join() *member {
	n := len(c.hosts) + 1
	for {
		ip := fmt.Sprintf("10.%d.%d.%d", n/62500, n/250%250, n%250+1)
		if _, taken := c.hosts[ip]; !taken {
			c.note("host %s joins", ip)
			m := &member{Host: schedule.Host{Host: state.Host{IP: ip, Arch: "amd64", CPUs: 8, Memory: 64 << 30, Labels: map[string]string{}}},
				c: c, reachable: true, has: map[string]*instance{}}
			c.hosts[ip] = m
			c.hostsChanged()
			return m
		}
		n++
	}
}

// cut takes a host away, by its power or just by its network.
func (m *member) cut(power bool) {
	if !m.reachable {
		return
	}
	c := m.c
	c.note("host %s is away, power %v", m.IP, power)
	m.reachable = false
	m.epoch++
	epoch, last := m.epoch, c.now.Add(-c.between(0, 2*time.Second))
	silent := leaseTime - c.now.Sub(last)
	lost := silent + c.between(0, 500*time.Millisecond)
	m.fenceAt = c.now.Add(lost + c.between(0, fenced))
	for _, id := range slices.Sorted(maps.Keys(m.has)) {
		i := m.has[id]
		if power {
			i.down()
			continue
		}
		if i.spec.Manifest.Fenced() {
			c.after(m.fenceAt.Sub(c.now), func() {
				if m.epoch == epoch {
					i.down()
				}
			})
		}
	}
	at := func(d time.Duration, liveness schedule.Liveness) {
		c.after(d, func() {
			if m.epoch == epoch && m.Liveness < liveness {
				m.judge(liveness, last)
			}
		})
	}
	at(silent, schedule.Missing)
	at(lost, schedule.Lost)
}

// judge is the scheduler's judgement.
func (m *member) judge(liveness schedule.Liveness, silent time.Time) {
	m.c.note("host %s: liveness %d", m.IP, liveness)
	m.Liveness, m.Silent, m.Gone = liveness, time.Time{}, time.Time{}
	if liveness != schedule.Alive {
		m.Silent = silent
	}
	if liveness == schedule.Lost {
		m.Gone = m.c.now
	}
	m.c.hostsChanged()
}

// judgeAnew is how a scheduler sees a host that has just begun: it has not heard of it yet.
func (m *member) judgeAnew() {
	if m.Liveness == schedule.Alive {
		return
	}
	m.judge(schedule.Missing, m.c.now)
	epoch, began := m.epoch, m.c.now
	m.c.after(patience, func() {
		if m.epoch == epoch && m.Liveness == schedule.Missing && m.Silent.Equal(began) {
			m.judge(schedule.Lost, m.Silent)
		}
	})
}

// restore brings a host back.
func (m *member) restore() {
	if m.reachable {
		return
	}
	m.c.note("host %s is back", m.IP)
	m.reachable = true
	m.epoch++
	m.judge(schedule.Alive, time.Time{})
	m.c.looks(m.IP)
	for _, id := range slices.Sorted(maps.Keys(m.has)) {
		m.has[id].publish()
	}
}

// forget has the cluster forget a host that is away.
func (m *member) forget() {
	m.c.note("host %s is forgotten", m.IP)
	m.epoch++
	for _, id := range slices.Sorted(maps.Keys(m.has)) {
		m.has[id].down()
	}
	delete(m.c.hosts, m.IP)
	for _, key := range slices.Sorted(maps.Keys(m.c.keys)) {
		if strings.HasPrefix(key, state.HostsDir+"/"+m.IP+"/") {
			m.c.remove(key)
		}
	}
	m.c.hostsChanged()
}

// looks has a host look at its slots, soon.
func (c *cluster) looks(ip string) {
	m := c.hosts[ip]
	if m == nil || m.looking {
		return
	}
	m.looking = true
	c.after(c.between(time.Millisecond, 200*time.Millisecond), func() {
		m.looking = false
		if m.reachable {
			m.look()
		}
	})
}

// look starts what is assigned to the host, and stops what is not.
func (m *member) look() {
	assigned := m.c.assigned[m.IP]
	for _, id := range slices.Sorted(maps.Keys(assigned)) {
		i := m.has[id]
		if i == nil {
			i = &instance{place: assigned[id], id: id, on: m}
			i.spec = m.c.spec(i.ref, i.Revision)
			m.has[id] = i
			i.start()
		} else if !i.up && !i.stopping && !i.ended && !i.gaveUp && i.phase == state.PhaseFailed {
			i.start()
		}
	}
	for _, id := range slices.Sorted(maps.Keys(m.has)) {
		if _, wanted := assigned[id]; !wanted && !m.has[id].stopping {
			m.has[id].stop()
		}
	}
}

// later has something done, unless the instance is started anew or stopped before.
func (i *instance) later(d time.Duration, do func()) {
	life := i.life
	i.on.c.after(d, func() {
		if i.life == life {
			do()
		}
	})
}

func (i *instance) become(phase state.Phase, reason string) {
	i.phase, i.reason = phase, reason
	i.publish()
}

// is tells how the instance behaves: its image says so.
func (i *instance) is(word string) bool { return strings.Contains(i.spec.Image, word) }

// start pulls and starts the container.
func (i *instance) start() {
	c := i.on.c
	i.life++
	i.become(state.PhaseStarting, "")
	if i.is("missing") {
		i.later(c.between(0, 3*time.Second), func() {
			i.gaveUp = true
			i.become(state.PhaseFailed, "there is no such image")
		})
		return
	}
	i.later(c.between(100*time.Millisecond, 3*time.Second), i.begin)
}

// begin is when the container runs.
func (i *instance) begin() {
	c := i.on.c
	if !i.on.reachable && i.spec.Fenced() && !c.now.Before(i.on.fenceAt) {
		i.become(state.PhaseFailed, "the host is cut off")
		return
	}
	i.up, i.image = true, "sha256:1"
	c.hold(i)
	i.become(state.PhaseRunning, "not healthy yet")
	switch {
	case i.spec.Mode == manifest.JobMode:
		i.later(c.between(time.Second, 20*time.Second), i.end)
	case i.is("sick"):
		i.later(i.spec.Update.HealthyDeadline.Of(), func() {
			i.gaveUp = true
			i.become(state.PhaseRunning, "it did not become healthy")
		})
	default:
		i.later(c.between(100*time.Millisecond, 2*time.Second), i.heal)
	}
}

// heal is when it becomes healthy. A flaky one does not stay so, a few times.
func (i *instance) heal() {
	c := i.on.c
	i.become(state.PhaseHealthy, "")
	i.later(i.spec.Update.MinHealthyTime.Of(), func() {
		i.steady = true
		i.publish()
	})
	if i.is("flaky") && i.Generation+i.life < 6 {
		i.later(c.between(0, 30*time.Second), func() {
			i.life++
			i.steady = false
			i.become(state.PhaseRunning, "unhealthy")
			i.later(c.between(0, 10*time.Second), i.heal)
		})
	}
}

// end is when a job has ended.
func (i *instance) end() {
	code := 0
	if i.is("fails") {
		code = 3
	}
	i.down()
	i.exit, i.ended = &code, true
	i.become(state.PhaseEnded, "")
}

// stop drains, stops and removes the container.
func (i *instance) stop() {
	i.life++
	i.stopping, i.steady = true, false
	i.become(state.PhaseStopping, "not assigned here any more")
	i.later(i.on.c.between(100*time.Millisecond, 8*time.Second), func() {
		i.down()
		i.remove()
	})
}

// remove has the container gone, and its state with it as soon as the host can write that.
func (i *instance) remove() {
	if !i.on.reachable {
		i.stopping = false // and looked at again when it is back
		return
	}
	delete(i.on.has, i.id)
	i.on.c.remove(state.InstanceKey(i.on.IP, i.id))
}

// down is that the container does not run any more.
func (i *instance) down() {
	if i.up {
		i.up = false
		i.on.c.release(i)
	}
	i.life++
	i.stopping, i.steady = false, false
	if !i.ended {
		i.phase, i.reason = state.PhaseFailed, "it has exited"
	}
}

// publish has the host write the instance's state, soon.
func (i *instance) publish() {
	if i.publishing {
		return
	}
	i.publishing = true
	c := i.on.c
	c.after(c.between(0, 500*time.Millisecond), func() {
		i.publishing = false
		if !i.on.reachable || i.on.has[i.id] != i {
			return
		}
		o := state.Observed{Ref: i.ref, Slot: i.slot, Revision: i.Revision, Phase: i.phase, Reason: i.reason, Image: i.image, Steady: i.steady,
			GaveUp: i.gaveUp, ExitCode: i.exit}
		value, err := json.Marshal(o)
		if err != nil {
			c.fail("%v", err)
		}
		key := state.InstanceKey(i.on.IP, i.id)
		if c.keys[key].Value != string(value) {
			c.note("%s: %s slot %d is %s, steady %v, gave up %v", key, i.ref, i.slot, i.phase, i.steady, i.gaveUp)
			c.write(key, string(value))
		}
		if i.gaveUp {
			c.gaveUpAt = c.now
		}
		if i.up {
			i.publishVolumes()
		}
	})
}

// publishVolumes tells of the volumes that the host has since the container was made.
func (i *instance) publishVolumes() {
	c := i.on.c
	for _, v := range i.spec.Volumes {
		volume := state.Volume{Ref: i.ref, Volume: v.Name, Driver: v.Driver}
		if v.AccessMode == manifest.SingleWriter {
			volume.Slot = i.slot
		}
		value, err := json.Marshal(volume)
		if err != nil {
			c.fail("%v", err)
		}
		key := state.VolumeKey(i.on.IP, v.DockerName(i.ref.App, i.ref.Name, i.slot))
		if c.keys[key].Value != string(value) {
			c.write(key, string(value))
		}
	}
}
