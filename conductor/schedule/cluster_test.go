package schedule_test

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// failer is what the model needs of a test: a *testing.T, a *testing.B or a *rapid.T.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// cluster is a model of a whole cluster in one process and in virtual time: a store with the real
// keys, members that run containers (member_test.go), and the real planner. Members see what they
// are to do, and tell what they did, a moment later, as conductors do; what may never happen is
// looked for at every step (rules_test.go).
type cluster struct {
	t      failer
	rand   *rand.Rand
	now    time.Time
	agenda agenda
	count  int // of what ever was on the agenda

	keys     map[string]schedule.Node
	index    uint64
	slots    map[state.Ref]map[int]state.Slot
	assigned map[string]map[string]place // by host and instance
	specs    map[string]spec             // of revisions, by key
	hosts    map[string]*member
	holders  map[string]string // container that has a volume which only one may write, by volume
	used     map[string]bool   // ids of instances that were ever in a slot

	planner  *schedule.Planner
	news     map[string]bool // keys that the planner was not told of yet
	judged   map[string]schedule.Host
	passAt   time.Time // when the scheduler plans next, zero if nothing is to be planned
	ids      int
	failing  int  // of a hundred writes of the scheduler's, how many fail
	mixed    bool // writes for different containers overtake each other
	careful  bool
	gaveUpAt time.Time // when an instance did last
	stale    bool      // two schedulers wrote at once: only what compare-and-swap promises holds

	passes  int
	changes map[schedule.Kind]int
	busy    []time.Duration // how long each pass took that planned anything, in real time
	log     []string        // the last things that happened
}

// place is where an instance is assigned.
type place struct {
	ref  state.Ref
	slot int
	state.Assignment
}

// spec is a revision's manifest, as of an index of its key.
type spec struct {
	modified uint64
	hash     string
	*manifest.Manifest
}

func newCluster(t failer, seed uint64, hosts int) *cluster {
	c := &cluster{t: t, rand: rand.New(rand.NewPCG(seed, 1)), now: time.Date(2026, 6, 1, 11, 58, 0, 0, time.UTC),
		keys: map[string]schedule.Node{}, slots: map[state.Ref]map[int]state.Slot{}, assigned: map[string]map[string]place{}, specs: map[string]spec{},
		hosts: map[string]*member{}, holders: map[string]string{}, used: map[string]bool{}, changes: map[schedule.Kind]int{}}
	c.elect()
	for range hosts {
		c.join()
	}
	return c
}

// task is something that happens at a time.
type task struct {
	at    time.Time
	count int
	do    func()
}

type agenda []task

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at.Before(a[j].at) || a[i].at.Equal(a[j].at) && a[i].count < a[j].count
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(task)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// after has something done after a time.
func (c *cluster) after(d time.Duration, do func()) {
	c.count++
	heap.Push(&c.agenda, task{c.now.Add(d), c.count, do})
}

// between is a random time.
func (c *cluster) between(least, most time.Duration) time.Duration {
	return least + time.Duration(c.rand.Int64N(int64(most-least)+1))
}

// step does what is next, if that is by a time.
func (c *cluster) step(until time.Time) bool {
	switch first := len(c.agenda) > 0; {
	case !c.passAt.IsZero() && !c.passAt.After(until) && (!first || c.passAt.Before(c.agenda[0].at)):
		c.now = latest(c.now, c.passAt)
		c.pass()
	case first && !c.agenda[0].at.After(until):
		next := heap.Pop(&c.agenda).(task)
		c.now = next.at
		next.do()
	default:
		return false
	}
	return true
}

// run lets time pass.
func (c *cluster) run(d time.Duration) {
	until := c.now.Add(d)
	for c.step(until) {
	}
	c.now = until
}

// rest lets time pass until nothing more happens, but what is far away.
func (c *cluster) rest() {
	c.t.Helper()
	limit := c.now.Add(4 * time.Hour)
	for c.step(c.now.Add(15 * time.Minute)) {
		if c.now.After(limit) {
			c.fail("does not come to rest")
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (c *cluster) fail(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("%s\nafter:\n%s", fmt.Sprintf(format, args...), strings.Join(c.log, "\n"))
}

// note keeps what happened, for when a rule is found broken.
func (c *cluster) note(format string, args ...any) {
	if !c.careful {
		return
	}
	c.log = append(c.log, c.now.Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// write writes a key, as its owner does.
func (c *cluster) write(key, value string) {
	c.index++
	created := c.index
	if old, there := c.keys[key]; there {
		created = old.Created
	}
	c.keys[key] = schedule.Node{Key: key, Value: value, Created: created, Modified: c.index}
	c.wrote(key, value)
}

func (c *cluster) remove(key string) {
	if _, there := c.keys[key]; there {
		c.index++
		delete(c.keys, key)
		c.wrote(key, "")
	}
}

// wrote tells those whom a key concerns.
func (c *cluster) wrote(key, value string) {
	c.news[key] = true
	c.wake(c.now.Add(10 * time.Millisecond))
	k, ok := state.ParseAppKey(key)
	if !ok || k.Kind != "hosts" || k.Item == 0 {
		return
	}
	if c.slots[k.Ref] == nil {
		c.slots[k.Ref] = map[int]state.Slot{}
	}
	for _, a := range assignmentsOf(c.slots[k.Ref][k.Item]) {
		delete(c.assigned[a.Host], a.Instance)
		c.looks(a.Host)
	}
	delete(c.slots[k.Ref], k.Item)
	if value == "" {
		return
	}
	var slot state.Slot
	if err := json.Unmarshal([]byte(value), &slot); err != nil {
		c.fail("slot %s: %v", key, err)
	}
	c.slots[k.Ref][k.Item] = slot
	for _, a := range assignmentsOf(slot) {
		if c.assigned[a.Host] == nil {
			c.assigned[a.Host] = map[string]place{}
		}
		c.assigned[a.Host][a.Instance] = place{k.Ref, k.Item, *a}
		c.looks(a.Host)
	}
}

func assignmentsOf(s state.Slot) (all []*state.Assignment) {
	for _, a := range []*state.Assignment{s.Current, s.Next} {
		if a != nil {
			all = append(all, a)
		}
	}
	return all
}

// spec is the manifest that a revision was made of.
func (c *cluster) spec(ref state.Ref, revision int) spec {
	key := ref.RevisionKey(revision)
	node := c.keys[key]
	if known := c.specs[key]; known.Manifest != nil && known.modified == node.Modified {
		return known
	}
	var r state.Revision
	if err := json.Unmarshal([]byte(node.Value), &r); err != nil {
		c.fail("%s: %v", key, err)
	}
	m, err := manifest.Parse(r.Manifest)
	if err != nil {
		c.fail("%s: %v", key, err)
	}
	c.specs[key] = spec{node.Modified, r.Hash, m}
	return c.specs[key]
}

// elect begins with a scheduler that knows nothing.
func (c *cluster) elect() {
	c.planner = schedule.NewPlanner(c.newID)
	c.news = map[string]bool{}
	for key := range c.keys {
		c.news[key] = true
	}
	for _, m := range c.hosts {
		m.judgeAnew()
	}
	c.judged = nil
	c.wake(c.now)
}

func (c *cluster) newID() string { c.ids++; return fmt.Sprintf("id%d", c.ids) }

// wake has the scheduler plan by a time.
func (c *cluster) wake(at time.Time) {
	if c.passAt.IsZero() || at.Before(c.passAt) {
		c.passAt = at
	}
}

// wakeFor does so when the planner asks for it, zero for never.
func (c *cluster) wakeFor(at time.Time) {
	if !at.IsZero() {
		c.wake(latest(at, c.now.Add(time.Millisecond)))
	}
}

// pass is one of the scheduler's.
func (c *cluster) pass() {
	c.passes++
	c.passAt = time.Time{}
	plan, wake := c.plan()
	whole := c.carryOut(plan, c.failing)
	c.wakeFor(wake)
	if !c.careful {
		return
	}
	if whole {
		c.checkStatuses()
		c.checkNothingToPlan(plan)
	}
}

func (c *cluster) plan() (plan []schedule.Change, wake time.Time) {
	began := time.Now()
	c.tell(c.planner, c.news)
	clear(c.news)
	c.planner.SetHosts(c.judge())
	due := c.planner.Due(c.now)
	plan, wake = c.planner.Plan(c.now)
	if due {
		c.busy = append(c.busy, time.Since(began))
	}
	return plan, wake
}

func (c *cluster) tell(p *schedule.Planner, keys map[string]bool) {
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if node, there := c.keys[key]; there {
			p.Set(node, c.now)
		} else {
			p.Unset(key)
		}
	}
}

// judge is what the scheduler holds of the hosts.
func (c *cluster) judge() map[string]schedule.Host {
	if c.judged == nil {
		c.judged = map[string]schedule.Host{}
		for ip, m := range c.hosts {
			c.judged[ip] = m.Host
		}
	}
	return c.judged
}

// hostsChanged has the scheduler look at the hosts again.
func (c *cluster) hostsChanged() {
	c.judged = nil
	c.wake(c.now.Add(10 * time.Millisecond))
}

// carryOut carries out a plan as the scheduler does: after a change that fails come none of the same
// container, and it is planned again. It tells whether all was carried out.
func (c *cluster) carryOut(plan []schedule.Change, failing int) (whole bool) {
	skipped := map[state.Ref]bool{}
	if c.mixed {
		plan = c.mix(plan)
	}
	for _, change := range plan {
		ref := change.Ref
		if skipped[ref] {
			continue
		}
		if failing > 0 && c.rand.IntN(100) < failing || !c.apply(change) {
			skipped[ref] = true
			c.note("not written: %v %s", change.Kind, change.Key)
			c.planner.Touch(ref)
			c.wake(c.now.Add(time.Second))
		}
	}
	return len(skipped) == 0
}

// mix keeps the order of changes within each container only.
func (c *cluster) mix(plan []schedule.Change) (mixed []schedule.Change) {
	for left := slices.Clone(plan); len(left) > 0; {
		ref := left[c.rand.IntN(len(left))].Ref
		i := slices.IndexFunc(left, func(change schedule.Change) bool { return change.Ref == ref })
		mixed, left = append(mixed, left[i]), slices.Delete(left, i, i+1)
	}
	return mixed
}

// apply writes one change; it is refused if somebody else wrote the key.
func (c *cluster) apply(change schedule.Change) bool {
	if change.Reason == "" {
		c.fail("%v of %s has no reason", change.Kind, change.Key)
	}
	old, there := c.keys[change.Key]
	switch {
	case change.Kind == schedule.Create && there,
		change.Kind == schedule.Swap && (!there || old.Modified != change.PrevIndex),
		change.Kind == schedule.Delete && change.PrevIndex != 0 && old.Modified != change.PrevIndex:
		if !c.stale {
			c.fail("%v of %s at %d: it is %+v", change.Kind, change.Key, change.PrevIndex, old)
		}
		return false
	}
	c.changes[change.Kind]++
	switch k, _ := state.ParseAppKey(change.Key); k.Kind {
	case "status":
	case "revisions":
		c.note("%v %s: %s", change.Kind, change.Key, change.Reason)
	default:
		c.note("%v %s: %s %s", change.Kind, change.Key, change.Reason, change.Value)
	}
	c.checkSlot(change)
	switch change.Kind {
	case schedule.Put, schedule.Create, schedule.Swap:
		c.write(change.Key, change.Value)
	case schedule.Delete:
		c.remove(change.Key)
	case schedule.Prune:
	}
	return true
}

// checkNothingToPlan: a plan that was carried out leaves nothing to do, also for a scheduler that
// has just begun.
func (c *cluster) checkNothingToPlan(plan []schedule.Change) {
	c.t.Helper()
	again, wake := c.plan()
	if len(again) > 0 {
		c.fail("planning on the result of the plan gives %+v\nafter %+v", again, plan)
	}
	c.passAt = time.Time{}
	c.wakeFor(wake)
	all := map[string]bool{}
	for key := range c.keys {
		all[key] = true
	}
	anew := schedule.NewPlanner(c.newID)
	c.tell(anew, all)
	anew.SetHosts(c.judge())
	if again, _ := anew.Plan(c.now); len(again) > 0 && !c.somebodyGaveUp() {
		c.fail("planning anew on the result of the plan gives %+v\nafter %+v", again, plan)
	}
}

// put writes a manifest.
func (c *cluster) put(ref state.Ref, text string) {
	c.note("manifest of %s: %s", ref, text)
	c.write(ref.ManifestKey(), text)
}

// refs are the containers of which there are keys, in order.
func (c *cluster) refs() []state.Ref {
	all := map[state.Ref]bool{}
	for key := range c.keys {
		if k, ok := state.ParseAppKey(key); ok {
			all[k.Ref] = true
		}
	}
	return slices.SortedFunc(maps.Keys(all), func(a, b state.Ref) int { return strings.Compare(a.String(), b.String()) })
}

func (c *cluster) status(ref state.Ref) (s state.Status) {
	if node, there := c.keys[ref.StatusKey()]; there {
		if err := json.Unmarshal([]byte(node.Value), &s); err != nil {
			c.fail("status of %s: %v", ref, err)
		}
	}
	return s
}
