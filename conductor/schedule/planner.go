package schedule

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule/placement"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// Planner plans. It is told of every key and host that changed, and plans only for the containers
// that this concerns: on a large cluster that is the difference between a second and a moment.
// What it plans depends only on the keys, the hosts and the time, but for the ids of new instances
// and for what it remembers of moves that failed. It is not for concurrent use.
type Planner struct {
	newID func() string

	apps     map[state.Ref]*app
	hosts    map[string]Host
	observed map[state.Ref]map[string]Observed // by instance
	refs     map[string]state.Ref              // whose instance it is that a host reports, by "<ip>/<instance>"
	volumes  map[state.Ref]map[string]volume   // by their names in Docker
	owners   map[string]state.Ref              // whose volume it is that a host has, by "<ip>/<name in Docker>"
	versions versions
	claims   map[string]map[state.Ref]bool // who offers or wants to offer a service, by "<app>/<service>"
	claimed  map[state.Ref]map[string]bool // the same the other way round

	places  *placement.Map
	placed  map[state.Ref][]placed // what each container has in places
	demands map[state.Ref]map[*manifest.Manifest]*placement.Demand
	braked  bool // so many hosts are missing that nothing is moved

	results    map[state.Ref]*result // what was planned in this pass
	turns      int                   // how often anything was planned
	dirty      map[state.Ref]bool
	pending    map[state.Ref]bool                 // containers with slots that found no host
	waiting    map[state.Ref]map[state.Ref]bool   // containers that wait for the health of another, by that
	circular   map[state.Ref]bool                 // containers that were refused because they wait for themselves
	company    map[state.Ref]map[state.Ref]bool   // containers that must or must not be where another is, by that
	neighbours map[state.Ref]*manifest.Manifest   // by which company was noted
	targets    map[state.Ref]int                  // revisions that instances are to be of, as last planned
	wakes      map[state.Ref]time.Time            // when a container is to be planned again though nothing changed
	moved      bool                               // something left or changed its place since pending ones were planned
	move       *placement.Move                    // of an instance, that is planned in this pass to balance the hosts
	mover      state.Ref                          // whose instance that is
	moving     map[state.Ref]bool                 // containers with a slot that moves for the sake of balance, or is being emptied
	avoid      map[state.Ref]map[string]time.Time // hosts where an instance gave up, and until when they are avoided
}

// result is what was planned for a container in this pass.
type result struct {
	app     *app
	changes plan
	turn    int
	urgent  bool // something that does not work is replaced, or something that is not wanted goes
}

// placed is one instance in the placement map.
type placed struct {
	demand *placement.Demand
	host   string
}

// avoidance is how long a host is avoided: several times as long as it takes an instance to give up,
// or what never gets healthy would go round and round.
const avoidance = 30 * time.Minute

// NewPlanner makes a planner that knows nothing yet. newID makes ids of instances.
func NewPlanner(newID func() string) *Planner {
	return &Planner{newID: newID, apps: map[state.Ref]*app{}, hosts: map[string]Host{}, observed: map[state.Ref]map[string]Observed{}, refs: map[string]state.Ref{},
		volumes: map[state.Ref]map[string]volume{}, owners: map[string]state.Ref{}, versions: newVersions(), claims: map[string]map[state.Ref]bool{}, claimed: map[state.Ref]map[string]bool{},
		places: placement.NewMap(), placed: map[state.Ref][]placed{}, demands: map[state.Ref]map[*manifest.Manifest]*placement.Demand{}, neighbours: map[state.Ref]*manifest.Manifest{}, targets: map[state.Ref]int{},
		results: map[state.Ref]*result{}, company: map[state.Ref]map[state.Ref]bool{}, circular: map[state.Ref]bool{}, dirty: map[state.Ref]bool{}, pending: map[state.Ref]bool{}, waiting: map[state.Ref]map[state.Ref]bool{},
		wakes: map[state.Ref]time.Time{}, moving: map[state.Ref]bool{}, avoid: map[state.Ref]map[string]time.Time{}}
}

// Due tells whether there is anything to plan for.
func (p *Planner) Due(now time.Time) bool {
	p.forgive(now)
	for _, at := range p.wakes {
		if !at.After(now) {
			return true
		}
	}
	return len(p.dirty) > 0 || p.moved && len(p.pending) > 0
}

// Plan plans one pass: for everything that changed since the last, and for what became due. The
// changes are to be carried out in their order, and told by Set when they are in the store; one
// that could not be is told by Touch. wake is when to plan again though nothing changed, zero for
// never. Planning on the result of carrying a plan out gives an empty one.
func (p *Planner) Plan(now time.Time) (changes []Change, wake time.Time) {
	for ref, at := range p.wakes {
		if !at.After(now) {
			p.dirty[ref] = true
		}
	}
	p.reconsider()
	wake = p.forgive(now)
	p.planDirty(now)
	if p.balance(now) {
		p.planDirty(now)
	}
	changes = p.planned()
	clear(p.results)
	p.move, p.mover = nil, state.Ref{}
	for _, at := range p.wakes {
		wake = earlier(wake, at)
	}
	if len(p.dirty) > 0 {
		wake = now
	}
	return changes, wake
}

// planDirty plans for what changed, and again for those whom that concerns.
func (p *Planner) planDirty(now time.Time) {
	for round := 0; len(p.dirty) > 0 && round < maxRounds; round++ {
		refs := slices.SortedFunc(maps.Keys(p.dirty), compareRefs)
		clear(p.dirty)
		p.countAll(refs)
		for _, ref := range refs {
			p.planOne(ref, now)
		}
		p.reconsider()
	}
}

// planned are the changes of this pass: those of a container together, the urgent ones first, and
// else after those of others that it found.
func (p *Planner) planned() (changes []Change) {
	p.hurry()
	results := slices.Collect(maps.Values(p.results))
	slices.SortFunc(results, func(a, b *result) int {
		if a.urgent != b.urgent {
			return map[bool]int{true: -1, false: 1}[a.urgent]
		}
		return a.turn - b.turn
	})
	for _, r := range results {
		changes = append(changes, r.changes.changes...)
	}
	return changes
}

// hurry makes urgent also what an urgent container must find, or not find, beside it.
func (p *Planner) hurry() {
	for more := true; more; {
		more = false
		for other, company := range p.company {
			r := p.results[other]
			if r == nil || r.urgent {
				continue
			}
			for ref := range company {
				if c := p.results[ref]; c != nil && c.urgent {
					r.urgent, more = true, true
				}
			}
		}
	}
}

// maxRounds is how often a container is planned in a pass, because what was planned for others
// changed what it found.
const maxRounds = 4

// maxSteps is how many steps a container takes at once.
const maxSteps = 4

// countAll counts what stands in the slots of containers that were never planned: whoever is planned
// first is to find it there.
func (p *Planner) countAll(refs []state.Ref) {
	for _, ref := range refs {
		a := p.apps[ref]
		if _, counted := p.placed[ref]; counted || a == nil {
			continue
		}
		c := newContainer(p, ref, a, time.Time{})
		c.target = a.latest()
		if c.spec = a.revisions[c.target].parsed; c.spec == nil {
			continue
		}
		c.demand = p.demandOf(ref, c.spec)
		for _, n := range a.slotNumbers() {
			c.countSlot(n, a.slots[n].Slot)
		}
		p.placed[ref] = c.placed
	}
}

// reconsider has those planned that found no host, if something left or changed its place.
func (p *Planner) reconsider() {
	if p.moved {
		maps.Copy(p.dirty, p.pending)
		p.moved = false
	}
}

// planOne plans for one container, from what was planned for it in this pass before.
func (p *Planner) planOne(ref state.Ref, now time.Time) {
	a := p.apps[ref]
	if a == nil {
		return
	}
	before := p.placed[ref]
	p.displace(before)
	delete(p.placed, ref)
	c := newContainer(p, ref, a, now)
	if r := p.results[ref]; r != nil {
		c = newContainer(p, ref, r.app, now)
		c.changes = r.changes.without(ref.StatusKey())
	}
	if ref == p.mover {
		c.move = p.move
	}
	c.plan()
	for step := 1; c.changes.fresh && step < maxSteps; step++ { // in the end nothing is left that another pass would find
		p.displace(c.placed)
		c = c.again()
		c.plan()
	}
	p.turns++
	turn, stays := p.turns, slices.Equal(before, c.placed)
	if r := p.results[ref]; r != nil && stays {
		turn = r.turn // others may have found it there
	}
	p.results[ref] = &result{c.app, c.changes, turn, c.presses()}
	p.placed[ref] = c.placed
	if !stays {
		p.moved = true
		maps.Copy(p.dirty, p.company[ref])
	}
	if len(c.changes.changes) > 0 {
		maps.Copy(p.dirty, p.waiting[ref])
	}
	if c.app.latest() != a.latest() {
		p.claim(ref)
	}
	p.forgetDemands(ref)
	p.targets[ref] = c.target
	set(p.pending, ref, len(c.unmet) > 0 || c.left)
	set(p.moving, ref, c.moves())
	delete(p.wakes, ref)
	if !c.wake.IsZero() {
		p.wakes[ref] = c.wake
	}
}

// forgetDemands drops those of revisions that nothing counts by any more.
func (p *Planner) forgetDemands(ref state.Ref) {
	if len(p.demands[ref]) < 2 {
		return
	}
	used := map[*placement.Demand]bool{}
	for _, at := range p.placed[ref] {
		used[at.demand] = true
	}
	maps.DeleteFunc(p.demands[ref], func(_ *manifest.Manifest, d *placement.Demand) bool { return !used[d] })
}

// planning is a container as this pass leaves it so far, nil if there is none.
func (p *Planner) planning(ref state.Ref) *app {
	if r := p.results[ref]; r != nil {
		return r.app
	}
	return p.apps[ref]
}

func (p *Planner) displace(places []placed) {
	for _, at := range places {
		p.places.Remove(at.demand, at.host)
	}
}

// lost tells whether a host is positively gone. One that the cluster does not know was forgotten on
// purpose: what it knows of a host outlives the host's lease.
func (p *Planner) lost(host string) bool {
	h, known := p.hosts[host]
	return !known || h.Liveness == Lost
}

// brake is the share of hosts, in percent, that must be missing for nothing to be moved: then the
// fault is more likely ours than theirs, and moving everything would make it worse.
const brake = 55

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

// earlier is the earlier of two times of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func set[K comparable](m map[K]bool, key K, in bool) {
	if in {
		m[key] = true
	} else {
		delete(m, key)
	}
}

// relate is set of a map of maps, in which none is empty.
func relate[K, V comparable](m map[K]map[V]bool, key K, value V, in bool) {
	if in && m[key] == nil {
		m[key] = map[V]bool{}
	}
	if set(m[key], value, in); len(m[key]) == 0 {
		delete(m, key)
	}
}

func compareRefs(a, b state.Ref) int {
	return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Name, b.Name))
}
