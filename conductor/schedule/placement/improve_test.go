package placement_test

import (
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/conductor/schedule/placement"
	"github.com/dokkaa/dokkaa/manifest"
)

func TestImprove(t *testing.T) {
	const a, b, c = "10.0.0.1", "10.0.0.2", "10.0.0.3"
	for _, test := range []struct {
		name    string
		has     map[string]string            // instances by host; an upper-case one is pinned
		asks    map[string]manifest.Manifest // by name
		refuses string                       // a host that takes nothing
		want    string                       // the moves one by one
	}{
		{name: "one more is even", has: map[string]string{a: "x", b: "y"}},
		{name: "a host that joined", has: map[string]string{a: "u v w", b: "x y z"}, want: "x>3 u>3"},
		{name: "copies go first", has: map[string]string{a: "x y y z", b: "u v w"}, want: "y>3 u>3"},
		{name: "not to where the copies are", has: map[string]string{a: "x y z", b: "", c: "u v"}, want: "x>2"},
		{name: "pinned", has: map[string]string{a: "X Y z", b: "u"}, want: "z>3"},
		{name: "all pinned", has: map[string]string{a: "X Y Z"}},
		{name: "from the fullest that can", has: map[string]string{a: "X Y Z", b: "u v"}, want: "u>3"},
		{name: "cordoned hosts are let be", has: map[string]string{a: "x", b: "u"}, refuses: c},
		{name: "what a cordoned host has stays", has: map[string]string{c: "x y z"}, refuses: c},
		{name: "constraint", has: map[string]string{a: "x x2", b: "x3"}, asks: map[string]manifest.Manifest{
			"x":  {Constraints: []manifest.Condition{condition("host.ip", manifest.NotEqual, c)}},
			"x2": {Constraints: []manifest.Condition{condition("host.ip", manifest.NotEqual, c)}},
		}},
		{name: "to the emptiest", has: map[string]string{a: "x y z", b: "u"}, asks: map[string]manifest.Manifest{
			"x": {Constraints: []manifest.Condition{condition("host.ip", manifest.NotEqual, c)}},
		}, want: "y>3"},
		{name: "preferences stay", has: map[string]string{a: "x y", b: "z"}, asks: map[string]manifest.Manifest{
			"x": {Affinities: []manifest.Affinity{{Condition: condition("host.ip", manifest.Equal, a), Weight: 1}}},
		}, want: "y>3"},
		{name: "who is needed stays", has: map[string]string{a: "db web", b: "z"}, asks: map[string]manifest.Manifest{"web": {Near: []string{"db"}}}},
		{name: "one of two is not needed", has: map[string]string{a: "db db web", b: "z"}, asks: map[string]manifest.Manifest{"web": {Near: []string{"db"}}}, want: "db>3"},
		{name: "copies apart", has: map[string]string{a: "x x", b: "y", c: "z"}, want: "x>2"},
		{name: "copies apart where all have some", has: map[string]string{a: "x x x", b: "x x y", c: "x z"}, want: "x>3"},
		{name: "copies stay if totals would get worse", has: map[string]string{a: "x x", b: "y z", c: "u v"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, m := &model{hosts: plainHosts(3)}, placement.NewMap()
			if test.refuses != "" {
				w.hosts[test.refuses] = placement.Host{Refuses: "cordoned"}
			}
			m.SetHosts(w.hosts)
			for _, ip := range []string{a, b, c} {
				for name := range strings.FieldsSeq(test.has[ip]) {
					d := demand(strings.ToLower(name), test.asks[name])
					m.Add(d, ip)
					w.instances = append(w.instances, instance{ref: d.Ref, demand: d, ip: ip, pinned: strings.ToLower(name) != name})
				}
			}
			var moves []string
			for move, ok := m.Improve(w.candidates); ok; move, ok = m.Improve(w.candidates) {
				moves = append(moves, move.Demand.Ref.Name+">"+move.To[len(move.To)-1:])
				apply(w, m, move)
			}
			if got := strings.Join(moves, " "); got != test.want {
				t.Errorf("moves are %q, want %q", got, test.want)
			}
		})
	}
}
