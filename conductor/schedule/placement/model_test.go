package placement_test

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/dokkaa/dokkaa/conductor/schedule/placement"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// model is a cluster that is asked the slow way: it knows manifests and hosts, and counts anew
// for each question.
type model struct {
	hosts     map[string]placement.Host
	instances []instance
}

type instance struct {
	ref      state.Ref
	manifest *manifest.Manifest
	demand   *placement.Demand
	ip       string
	pinned   bool // no candidate for a move
}

func (w *model) ips() []string { return slices.SortedFunc(maps.Keys(w.hosts), strings.Compare) }

// without is the model but for one instance.
func (w *model) without(i int) *model {
	return &model{hosts: w.hosts, instances: slices.Delete(slices.Clone(w.instances), i, i+1)}
}

// rebuild is a map made at once of what the model has.
func (w *model) rebuild() *placement.Map {
	m := placement.NewMap()
	for _, i := range slices.Backward(w.instances) {
		m.Add(i.demand, i.ip)
	}
	m.SetHosts(maps.Clone(w.hosts))
	return m
}

func (w *model) count(ip string, which func(instance) bool) int {
	n := 0
	for _, i := range w.instances {
		if i.ip == ip && which(i) {
			n++
		}
	}
	return n
}

func (w *model) total(ip string) int { return w.count(ip, func(instance) bool { return true }) }

func (w *model) copies(ref state.Ref, ip string) int {
	return w.count(ip, func(i instance) bool { return i.ref == ref })
}

// met knows the conditions that condition() draws.
func met(h placement.Host, ip string, c manifest.Condition) bool {
	value := h.Labels[strings.TrimPrefix(c.Attribute, "host.labels.")]
	if c.Attribute == "host.ip" {
		value = ip
	}
	switch c.Operator {
	case manifest.Equal:
		return value == c.Value
	case manifest.NotEqual:
		return value != c.Value
	}
	panic(c.Operator)
}

// unfit is why one more, or the one that is there, does not suit the host.
func (w *model) unfit(ref state.Ref, m *manifest.Manifest, ip string) string {
	for _, c := range m.Constraints {
		if !met(w.hosts[ip], ip, c) {
			return "constraint " + c.String()
		}
	}
	for _, name := range m.Near {
		if w.copies(state.Ref{App: ref.App, Name: name}, ip) == 0 {
			return "near " + name
		}
	}
	for _, name := range m.Apart {
		if w.copies(state.Ref{App: ref.App, Name: name}, ip) > 0 {
			return "apart from " + name
		}
	}
	return ""
}

func (w *model) refusal(ref state.Ref, m *manifest.Manifest, ip string, opts placement.Options) string {
	host := w.hosts[ip]
	if host.Refuses != "" {
		return host.Refuses
	}
	if opts.Only != nil && !slices.Contains(opts.Only, ip) {
		return opts.Else
	}
	if reason := opts.Exclude[ip]; reason != "" {
		return reason
	}
	if reason := w.unfit(ref, m, ip); reason != "" {
		return reason
	}
	var shunned []string
	var cpus float64
	var memory int64
	for _, i := range w.instances {
		if i.ip != ip {
			continue
		}
		if i.ref.App == ref.App && slices.Contains(i.manifest.Apart, ref.Name) {
			shunned = append(shunned, i.ref.Name)
		}
		cpus += i.manifest.Resources.Reserve.CPUs
		memory += i.manifest.Resources.Reserve.Memory
	}
	if len(shunned) > 0 {
		return "apart from " + slices.Min(shunned)
	}
	if m.MaxPerHost > 0 && w.copies(ref, ip) >= m.MaxPerHost {
		return "max_per_host"
	}
	for _, s := range m.Services {
		if s.HostPort > 0 && w.count(ip, func(i instance) bool {
			for _, taken := range i.manifest.Services {
				if taken.HostPort == s.HostPort {
					return true
				}
			}
			return false
		}) > 0 {
			return fmt.Sprint("host port ", s.HostPort)
		}
	}
	reserve := m.Resources.Reserve
	switch {
	case reserve.CPUs > 0 && host.CPUs > 0 && cpus+reserve.CPUs > host.CPUs: // quarters: exact
		return "cpus"
	case reserve.Memory > 0 && host.Memory > 0 && memory+reserve.Memory > host.Memory:
		return "memory"
	}
	return ""
}

// score is what the manifest prefers, in tenths of all its weights.
func (w *model) score(ref state.Ref, m *manifest.Manifest, ip string) float64 {
	sum, weights := 0, 0
	for _, a := range m.Affinities {
		weights += max(a.Weight, -a.Weight)
		if met(w.hosts[ip], ip, a.Condition) {
			sum += a.Weight
		}
	}
	for _, s := range m.Spread {
		weights += s.Weight
		label := strings.TrimPrefix(s.Attribute, "host.labels.")
		for other, host := range w.hosts {
			if host.Labels[label] == w.hosts[ip].Labels[label] {
				sum -= s.Weight * w.copies(ref, other)
			}
		}
	}
	if weights == 0 {
		return 0
	}
	return math.Round(10 * float64(sum) / float64(weights))
}

// used is the share of the host's resources that is reserved.
func (w *model) used(ip string) float64 {
	var cpus float64
	var memory int64
	for _, i := range w.instances {
		if i.ip == ip {
			cpus += i.manifest.Resources.Reserve.CPUs
			memory += i.manifest.Resources.Reserve.Memory
		}
	}
	used := 0.0
	if host := w.hosts[ip]; host.CPUs > 0 {
		used += cpus / host.CPUs
	}
	if host := w.hosts[ip]; host.Memory > 0 {
		used += float64(memory) / float64(host.Memory)
	}
	return used
}

func (w *model) pick(ref state.Ref, m *manifest.Manifest, opts placement.Options) (string, placement.Refusals) {
	best, refusals, full := "", placement.Refusals{}, w
	if i := slices.IndexFunc(w.instances, func(i instance) bool { return i.ref == ref && i.ip == opts.Instead }); i >= 0 {
		w = w.without(i)
	}
	for _, ip := range w.ips() {
		if reason := w.refusal(ref, m, ip, opts); reason != "" {
			refusals[reason]++
		} else if best == "" || cmp.Or(
			cmp.Compare(w.score(ref, m, best), w.score(ref, m, ip)), w.copies(ref, ip)-w.copies(ref, best),
			full.total(ip)-full.total(best), cmp.Compare(full.used(ip), full.used(best))) < 0 {
			best = ip
		}
	}
	if best != "" {
		return best, nil
	}
	return "", refusals
}

// mayMove tells whether an instance may go to a host: that suits it, no preference is given up,
// copies do not come together, and nobody is left who must be near it.
func (w *model) mayMove(i int, to string) bool {
	it, rest := w.instances[i], w.without(i)
	if it.pinned || it.ip == to || w.hosts[it.ip].Refuses != "" || rest.refusal(it.ref, it.manifest, to, placement.Options{}) != "" ||
		rest.copies(it.ref, to) > rest.copies(it.ref, it.ip) || rest.score(it.ref, it.manifest, to) < rest.score(it.ref, it.manifest, it.ip) {
		return false
	}
	for _, other := range rest.instances {
		if other.ip == it.ip && other.ref.App == it.ref.App && slices.Contains(other.manifest.Near, it.ref.Name) && rest.copies(it.ref, it.ip) == 0 {
			return false
		}
	}
	return true
}

// moves are all that would improve the balance: of totals, or else of copies.
func (w *model) moves() (level, part []placement.Move) {
	for i, it := range w.instances {
		for to := range w.hosts {
			if _, known := w.hosts[it.ip]; !known || !w.mayMove(i, to) {
				continue
			}
			move := placement.Move{Candidate: placement.Candidate{Demand: it.demand, Slot: i}, From: it.ip, To: to}
			switch {
			case w.total(to)+2 <= w.total(it.ip):
				level = append(level, move)
			case w.total(to) < w.total(it.ip) && w.copies(it.ref, to)+2 <= w.copies(it.ref, it.ip):
				part = append(part, move)
			}
		}
	}
	return level, part
}

func (w *model) candidates(ip string) []placement.Candidate {
	var candidates []placement.Candidate
	for i, it := range w.instances {
		if it.ip == ip && !it.pinned {
			candidates = append(candidates, placement.Candidate{Demand: it.demand, Slot: i})
		}
	}
	return candidates
}

// potential is what each move must lower: the sums of the squares of totals, and of copies.
func (w *model) potential() (totals, copies int) {
	for ip, host := range w.hosts {
		if host.Refuses == "" {
			totals += w.total(ip) * w.total(ip)
		}
		seen := map[state.Ref]bool{}
		for _, i := range w.instances {
			if !seen[i.ref] {
				seen[i.ref] = true
				copies += w.copies(i.ref, ip) * w.copies(i.ref, ip)
			}
		}
	}
	return totals, copies
}

func oneOf[T any](t *rapid.T, label string, values ...T) T {
	return rapid.SampledFrom(values).Draw(t, label)
}

func drawHost(t *rapid.T) placement.Host {
	h := placement.Host{
		CPUs: oneOf[float64](t, "cpus", 0, 1, 2), Memory: oneOf[int64](t, "memory", 0, 1, 2),
		Refuses: oneOf(t, "refuses", "", "", "", "", "lost", "cordoned"), Labels: map[string]string{},
	}
	for _, label := range []string{"zone", "disk"} {
		if value := oneOf(t, label, "", "a", "b"); value != "" {
			h.Labels[label] = value
		}
	}
	return h
}

var names = []string{"c0", "c1", "c2", "c3"}

func drawRef(t *rapid.T) state.Ref {
	return state.Ref{App: oneOf(t, "app", "app", "app", "app", "other"), Name: oneOf(t, "name", names...)}
}

func drawCondition(t *rapid.T) manifest.Condition {
	return manifest.Condition{
		Attribute: oneOf(t, "attribute", "host.labels.zone", "host.labels.disk"),
		Operator:  oneOf(t, "operator", manifest.Equal, manifest.NotEqual), Value: oneOf(t, "value", "a", "b"),
	}
}

// drawManifest asks for something of each kind, but mostly for nothing.
func drawManifest(t *rapid.T, ref state.Ref) *manifest.Manifest {
	m := &manifest.Manifest{}
	wants := func(what string) bool { return rapid.IntRange(0, 5).Draw(t, what) == 5 }
	for wants("constraint") {
		m.Constraints = append(m.Constraints, drawCondition(t))
	}
	for wants("affinity") {
		m.Affinities = append(m.Affinities, manifest.Affinity{Condition: drawCondition(t), Weight: oneOf(t, "weight", -100, -3, 7, 50)})
	}
	for _, attribute := range []string{"host.labels.zone", "host.labels.disk"} {
		if wants("spread") {
			m.Spread = append(m.Spread, manifest.Spread{Attribute: attribute, Weight: oneOf(t, "weight", 1, 50, 100)})
		}
	}
	if wants("max_per_host") {
		m.MaxPerHost = rapid.IntRange(1, 2).Draw(t, "max_per_host")
	}
	for _, name := range names {
		if name == ref.Name {
			continue
		}
		switch rapid.IntRange(0, 15).Draw(t, "company") {
		case 14:
			m.Near = append(m.Near, name)
		case 15:
			m.Apart = append(m.Apart, name)
		}
	}
	if wants("host port") {
		m.Services = map[string]manifest.Service{"web": {Port: 80, HostPort: oneOf(t, "port", 80, 81)}}
	}
	m.Resources.Reserve.CPUs = oneOf(t, "cpus", 0, 0, .25, .5)
	m.Resources.Reserve.Memory = oneOf[int64](t, "memory", 0, 0, 0, 1)
	return m
}
