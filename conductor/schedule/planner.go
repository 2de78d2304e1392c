package schedule

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
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
	volumes  map[state.Ref]map[volumeAt]bool
	versions versions
	claims   map[string]map[state.Ref]bool // who offers or wants to offer a service, by "<app>/<service>"

	places  *placement.Map
	placed  map[state.Ref][]placed // what each container has in places
	demands map[state.Ref]demand
	braked  bool // so many hosts are missing that nothing is moved

	results  map[state.Ref]*app // what was planned in this pass
	dirty    map[state.Ref]bool
	pending  map[state.Ref]bool               // containers with slots that found no host
	waiting  map[state.Ref]map[state.Ref]bool // containers that wait for the health of another, by that
	circular map[state.Ref]bool               // containers that were refused because they depend on themselves
	wakes    map[state.Ref]time.Time          // when a container is to be planned again though nothing changed
	moved    bool                             // something left or changed its place since pending ones were planned
	moving   map[state.Ref]bool               // containers with a slot that moves for the sake of balance
	avoid    map[avoided]time.Time            // hosts where an instance gave up, and until when they are avoided
}

// placed is one instance in the placement map.
type placed struct {
	demand *placement.Demand
	host   string
}

// demand is a container's, as long as its revision is the same.
type demand struct {
	*placement.Demand
	of *manifest.Manifest
}

// avoided is a host that a container does not get on with.
type avoided struct {
	state.Ref
	host string
}

// maxRounds is how often those that found no host are planned for in one pass. The next one goes on.
const maxRounds = 5

// avoidance is how long a host is avoided.
const avoidance = 5 * time.Minute

// NewPlanner makes a planner that knows nothing yet. newID makes ids of instances.
func NewPlanner(newID func() string) *Planner {
	return &Planner{newID: newID, apps: map[state.Ref]*app{}, hosts: map[string]Host{}, observed: map[state.Ref]map[string]Observed{}, refs: map[string]state.Ref{},
		volumes: map[state.Ref]map[volumeAt]bool{}, versions: newVersions(), claims: map[string]map[state.Ref]bool{},
		places: placement.NewMap(), placed: map[state.Ref][]placed{}, demands: map[state.Ref]demand{},
		results: map[state.Ref]*app{}, dirty: map[state.Ref]bool{}, pending: map[state.Ref]bool{}, waiting: map[state.Ref]map[state.Ref]bool{}, circular: map[state.Ref]bool{},
		wakes: map[state.Ref]time.Time{}, moving: map[state.Ref]bool{}, avoid: map[avoided]time.Time{}}
}

// Set takes in a key as it is now. Keys that mean nothing to the planner are ignored.
func (p *Planner) Set(node Node, now time.Time) {
	if key, ok := state.ParseAppKey(node.Key); ok {
		if p.apps[key.Ref] == nil {
			p.apps[key.Ref] = newApp()
		}
		p.apps[key.Ref].set(key, node, now)
		p.changed(key)
		return
	}
	if key, ok := state.ParseHostKey(node.Key); ok {
		p.setHostKey(key, node)
		return
	}
	p.setVersion(node.Key, true)
}

// Unset takes in that a key is gone.
func (p *Planner) Unset(key string) {
	if k, ok := state.ParseAppKey(key); ok {
		if a := p.apps[k.Ref]; a != nil {
			a.unset(k)
			p.changed(k)
			if a.empty() {
				p.forget(k.Ref)
			}
		}
		return
	}
	if k, ok := state.ParseHostKey(key); ok {
		p.unsetHostKey(k)
		return
	}
	p.setVersion(key, false)
}

// changed notes whom the change of a key concerns.
func (p *Planner) changed(key state.AppKey) {
	p.touch(key.Ref)
	if key.Kind == "manifest" || key.Kind == "revisions" {
		p.claim(key.Ref)
	}
	if key.Kind == "manifest" {
		maps.Copy(p.dirty, p.circular)
	}
}

// touch has a container planned, and those that wait for its health.
func (p *Planner) touch(ref state.Ref) {
	if p.apps[ref] != nil {
		p.dirty[ref] = true
	}
	for other := range p.waiting[ref] {
		p.dirty[other] = true
	}
}

// Touch has a container planned again, because of a change that could not be carried out.
func (p *Planner) Touch(ref state.Ref) { p.touch(ref) }

// forget drops everything about a container of which no key is left.
func (p *Planner) forget(ref state.Ref) {
	delete(p.apps, ref)
	p.displace(p.placed[ref])
	delete(p.placed, ref)
	p.moved = true
	for _, m := range []map[state.Ref]bool{p.dirty, p.pending, p.moving, p.circular} {
		delete(m, ref)
	}
	delete(p.wakes, ref)
	delete(p.demands, ref)
}

// setHostKey takes in what a host reported of an instance or a volume.
func (p *Planner) setHostKey(key state.HostKey, node Node) {
	switch key.Kind {
	case "instances":
		o := Observed{Host: key.IP}
		if json.Unmarshal([]byte(node.Value), &o.Observed) != nil {
			return
		}
		if p.observed[o.Ref] == nil {
			p.observed[o.Ref] = map[string]Observed{}
		}
		p.observed[o.Ref][key.Item] = o
		p.refs[key.IP+"/"+key.Item] = o.Ref
		p.touch(o.Ref)
	case "volumes":
		var v state.Volume
		if json.Unmarshal([]byte(node.Value), &v) == nil {
			p.setVolume(key, v)
		}
	}
}

func (p *Planner) unsetHostKey(key state.HostKey) {
	switch key.Kind {
	case "instances":
		ref, known := p.refs[key.IP+"/"+key.Item]
		if !known {
			return
		}
		delete(p.refs, key.IP+"/"+key.Item)
		if delete(p.observed[ref], key.Item); len(p.observed[ref]) == 0 {
			delete(p.observed, ref)
		}
		p.touch(ref)
	case "volumes":
		p.unsetVolume(key)
	}
}

// SetHosts takes in the hosts as the scheduler judges them now.
func (p *Planner) SetHosts(hosts map[string]Host) {
	if maps.EqualFunc(hosts, p.hosts, Host.equal) {
		return
	}
	p.hosts = hosts
	places := make(map[string]placement.Host, len(hosts))
	for ip, h := range hosts {
		places[ip] = placement.Host{IP: ip, Arch: h.Arch, Labels: h.Labels, CPUs: h.CPUs, Memory: h.Memory, Refuses: h.refuses()}
	}
	p.places.SetHosts(places)
	p.braked = Braked(hosts)
	for ref := range p.apps {
		p.dirty[ref] = true
	}
}

// equal tells whether both hosts lead to the same plan.
func (h Host) equal(o Host) bool {
	return h.IP == o.IP && h.Arch == o.Arch && h.CPUs == o.CPUs && h.Memory == o.Memory && h.Condition == o.Condition &&
		h.Liveness == o.Liveness && h.Availability == o.Availability && h.Silent.Equal(o.Silent) && h.Gone.Equal(o.Gone) && maps.Equal(h.Labels, o.Labels)
}

// Due tells whether there is anything to plan for.
func (p *Planner) Due(now time.Time) bool {
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
	maps.DeleteFunc(p.avoid, func(_ avoided, until time.Time) bool { return !until.After(now) })
	for _, ref := range slices.SortedFunc(maps.Keys(p.dirty), compareRefs) {
		changes = append(changes, p.planOne(ref, now, nil)...)
	}
	clear(p.dirty)
	changes = p.planPending(now, changes)
	changes = p.balance(now, changes)
	clear(p.results)
	for _, at := range p.wakes {
		wake = earlier(wake, at)
	}
	return changes, wake
}

// planPending plans again for the containers that found no host, as long as something moved that may
// have been in their way, or that they are to be near to.
func (p *Planner) planPending(now time.Time, planned []Change) []Change {
	for range maxRounds {
		if !p.moved || len(p.pending) == 0 {
			break
		}
		p.moved = false
		again := maps.Clone(p.pending)
		planned = slices.DeleteFunc(planned, func(c Change) bool { return again[state.RefOf(c.Key)] })
		for _, ref := range slices.SortedFunc(maps.Keys(again), compareRefs) {
			planned = append(planned, p.planOne(ref, now, nil)...)
		}
	}
	return planned
}

// planOne plans for one container, with an instance that is to move, if one is.
func (p *Planner) planOne(ref state.Ref, now time.Time, move *placement.Move) []Change {
	a := p.apps[ref]
	if a == nil {
		return nil
	}
	before := p.placed[ref]
	p.displace(before)
	delete(p.placed, ref)
	c := newContainer(p, ref, a, now)
	c.move = move
	c.plan()
	p.results[ref] = c.app
	p.placed[ref] = c.placed
	p.moved = p.moved || !slices.Equal(before, c.placed)
	set(p.pending, ref, len(c.unmet) > 0)
	set(p.moving, ref, c.moves())
	delete(p.wakes, ref)
	if !c.wake.IsZero() {
		p.wakes[ref] = c.wake
	}
	return c.changes
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

func compareRefs(a, b state.Ref) int {
	return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Name, b.Name))
}

// versions are the newest versions of secrets and configs, by "<app>/<name>", and which there are.
type versions struct {
	secrets, configs map[string]map[int]bool
}

func newVersions() versions {
	return versions{secrets: map[string]map[int]bool{}, configs: map[string]map[int]bool{}}
}

// setVersion takes in that there is a version of a secret or config, or is none any more.
func (p *Planner) setVersion(key string, there bool) {
	all, rest := p.versions.secrets, strings.TrimPrefix(key, state.SecretsDir+"/")
	if rest == key {
		if all, rest = p.versions.configs, strings.TrimPrefix(key, state.ConfigsDir+"/"); rest == key {
			return
		}
	}
	parts := strings.Split(rest, "/")
	if len(parts) != 3 {
		return
	}
	version, err := strconv.Atoi(parts[2])
	if err != nil || version < 1 {
		return
	}
	name := parts[0] + "/" + parts[1]
	if all[name] == nil {
		all[name] = map[int]bool{}
	}
	set(all[name], version, there)
	for ref := range p.apps {
		if ref.App == parts[0] {
			p.dirty[ref] = true
		}
	}
}
