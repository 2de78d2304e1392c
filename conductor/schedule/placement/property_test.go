package placement_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dokkaa/dokkaa/conductor/schedule/placement"
	"github.com/dokkaa/dokkaa/manifest"
)

// TestModel keeps a map through a random history. After each step its answers are those of the
// model, which asks hosts one by one.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, m := &model{hosts: map[string]placement.Host{}}, placement.NewMap()
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			step(t, w, m)
			ref := drawRef(t)
			ask := drawManifest(t, ref)
			opts := drawOptions(t)
			checkPick(t, w, m, instance{ref: ref, manifest: ask, demand: placement.NewDemand(ref, ask)}, opts)
			checkImprove(t, w, m)
		}
	})
}

func step(t *rapid.T, w *model, m *placement.Map) {
	ip := oneOf(t, "host", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5")
	switch what := rapid.IntRange(0, 9).Draw(t, "what"); {
	case what == 0 && len(w.instances) > 0:
		i := rapid.IntRange(0, len(w.instances)-1).Draw(t, "gone")
		m.Remove(w.instances[i].demand, w.instances[i].ip)
		w.instances = w.without(i).instances
	case what == 1:
		delete(w.hosts, ip)
	case what <= 3:
		w.hosts[ip] = drawHost(t)
	default:
		ref := drawRef(t)
		it := instance{ref: ref, manifest: drawManifest(t, ref), ip: ip, pinned: rapid.IntRange(0, 4).Draw(t, "pinned") == 0}
		it.demand = placement.NewDemand(ref, it.manifest)
		m.Add(it.demand, ip)
		w.instances = append(w.instances, it)
	}
	m.SetHosts(maps.Clone(w.hosts))
}

func drawOptions(t *rapid.T) placement.Options {
	switch rapid.IntRange(0, 9).Draw(t, "options") {
	case 7:
		return placement.Options{Instead: "10.0.0.2", Exclude: map[string]string{"10.0.0.2": "it leaves"}}
	case 8:
		return placement.Options{Only: []string{"10.0.0.2", "10.0.0.1"}, Else: "it is elsewhere"}
	case 9:
		return placement.Options{Exclude: map[string]string{"10.0.0.1": "it failed there"}}
	}
	return placement.Options{}
}

func checkPick(t *rapid.T, w *model, m *placement.Map, it instance, opts placement.Options) {
	got, refusals := m.Pick(it.demand, opts)
	want, wantRefusals := w.pick(it.ref, it.manifest, opts)
	if got != want || !maps.Equal(refusals, wantRefusals) {
		t.Fatalf("%s goes to %q (%v), want %q (%v)", it.ref, got, refusals, want, wantRefusals)
	}
	hosts := 0
	for _, n := range refusals {
		hosts += n
	}
	if got == "" && hosts != len(w.hosts) {
		t.Fatalf("%d hosts refuse, of %d", hosts, len(w.hosts))
	}
	for ip := range w.hosts {
		if got, want := m.Takes(it.demand, ip), w.refusal(it.ref, it.manifest, ip, placement.Options{}); got != want {
			t.Fatalf("%s takes %s but for %q, want %q", ip, it.ref, got, want)
		}
		if got, want := m.Fits(it.demand, ip), w.unfit(it.ref, it.manifest, ip); got != want {
			t.Fatalf("%s fits %s but for %q, want %q", it.ref, ip, got, want)
		}
	}
}

// checkImprove compares the next move with all that the model knows, and with that of a map which
// was made at once. It is from the fullest host that has one, to the emptiest for that.
func checkImprove(t *rapid.T, w *model, m *placement.Map) {
	move, ok := m.Improve(w.candidates)
	if again, okAgain := w.rebuild().Improve(w.candidates); move != again || ok != okAgain {
		t.Fatalf("kept map: %v, rebuilt map: %v", move, again)
	}
	level, part := w.moves()
	moves := append(level, part...)
	if ok != (len(moves) > 0) {
		t.Fatalf("got %v, but there are %v", move, moves)
	}
	if !ok {
		return
	}
	if !slices.Contains(moves, move) {
		t.Fatalf("%v is none of %v", move, moves)
	}
	for _, other := range level {
		if w.total(other.From) > w.total(move.From) || other.From == move.From && w.total(other.To) < w.total(move.To) {
			t.Fatalf("%v is better than %v", other, move)
		}
	}
	totals, copies := w.potential()
	after := &model{hosts: w.hosts, instances: slices.Clone(w.instances)}
	after.instances[move.Slot].ip = move.To
	totalsAfter, copiesAfter := after.potential()
	if cmp.Or(totalsAfter-totals, copiesAfter-copies) >= 0 || copiesAfter > copies {
		t.Fatalf("%v takes totals from %d to %d, copies from %d to %d", move, totals, totalsAfter, copies, copiesAfter)
	}
}

// TestImproveComesToAnEnd carries out the moves of a random cluster: each improves it, and no
// instance is ever where it was before.
func TestImproveComesToAnEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, m := &model{hosts: map[string]placement.Host{}}, placement.NewMap()
		for range rapid.IntRange(5, 40).Draw(t, "steps") {
			step(t, w, m)
		}
		been := map[int]map[string]bool{}
		for {
			checkImprove(t, w, m)
			move, ok := m.Improve(w.candidates)
			if !ok {
				break
			}
			if been[move.Slot] == nil {
				been[move.Slot] = map[string]bool{}
			}
			been[move.Slot][move.From] = true
			if been[move.Slot][move.To] {
				t.Fatalf("%v goes back", move)
			}
			apply(w, m, move)
		}
	})
}

func apply(w *model, m *placement.Map, move placement.Move) {
	m.Remove(move.Demand, move.From)
	m.Add(move.Demand, move.To)
	w.instances[move.Slot].ip = move.To
}

// plainHosts are empty ones without any attributes.
func plainHosts(n int) map[string]placement.Host {
	hosts := map[string]placement.Host{}
	for i := range n {
		hosts[fmt.Sprintf("10.0.0.%d", i+1)] = placement.Host{}
	}
	return hosts
}

// TestColdPlacementIsEven places containers one after another on empty hosts: no move is left.
func TestColdPlacementIsEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, m := &model{hosts: plainHosts(rapid.IntRange(1, 8).Draw(t, "hosts"))}, placement.NewMap()
		m.SetHosts(w.hosts)
		for _, scale := range rapid.SliceOfN(rapid.IntRange(0, 20), 0, 10).Draw(t, "scales") {
			d := demand(fmt.Sprint("c", len(w.instances)), manifest.Manifest{})
			for range scale {
				ip, _ := m.Pick(d, placement.Options{})
				m.Add(d, ip)
				w.instances = append(w.instances, instance{ref: d.Ref, manifest: &manifest.Manifest{}, demand: d, ip: ip})
			}
			even(t, "totals", w, w.total)
			even(t, d.Ref.String(), w, func(ip string) int { return w.copies(d.Ref, ip) })
		}
		if move, ok := m.Improve(w.candidates); ok {
			t.Fatalf("%v would improve it", move)
		}
	})
}

// even fails where hosts differ by more than one.
func even(t *rapid.T, what string, w *model, of func(ip string) int) {
	var counts []int
	for ip := range w.hosts {
		counts = append(counts, of(ip))
	}
	if slices.Max(counts)-slices.Min(counts) > 1 {
		t.Fatalf("%s by host are %v", what, counts)
	}
}

// TestMovesAreFew balances any distribution of containers that ask for nothing: at the end totals
// are even, after no more moves than any balancer needs.
func TestMovesAreFew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, m := &model{hosts: plainHosts(rapid.IntRange(1, 8).Draw(t, "hosts"))}, placement.NewMap()
		m.SetHosts(w.hosts)
		ips := w.ips()
		for range rapid.IntRange(0, 60).Draw(t, "instances") {
			d := demand(oneOf(t, "name", names...), manifest.Manifest{})
			ip := oneOf(t, "host", ips...)
			m.Add(d, ip)
			w.instances = append(w.instances, instance{ref: d.Ref, manifest: &manifest.Manifest{}, demand: d, ip: ip})
		}
		need := fewest(w)
		for {
			level, _ := w.moves()
			move, ok := m.Improve(w.candidates)
			if !ok {
				break
			}
			if len(level) > 0 {
				need--
			}
			apply(w, m, move)
		}
		if need != 0 {
			t.Fatalf("%d moves more than needed", -need)
		}
		even(t, "totals", w, w.total)
	})
}

// fewest is how many instances must move for totals to be even: what hosts have beyond their
// share, where the fullest get what does not divide.
func fewest(w *model) int {
	var totals []int
	for ip := range w.hosts {
		totals = append(totals, w.total(ip))
	}
	slices.SortFunc(totals, func(a, b int) int { return b - a })
	share, more := len(w.instances)/len(totals), len(w.instances)%len(totals)
	moves := 0
	for i, total := range totals {
		if i < more {
			total--
		}
		moves += max(0, total-share)
	}
	return moves
}
