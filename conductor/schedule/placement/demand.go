package placement

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"unique"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// Demand is what each instance of a revision asks of its host. It does not change.
type Demand struct {
	Ref state.Ref

	near, apart []other
	maxPerHost  int // 0: any number
	ports       []port
	cpus        int64 // reserved, in millionths of a core
	memory      int64 // reserved, in bytes

	// taste is all that it asks of hosts' attributes, as text; zero if nothing. Demands of the same
	// taste find the same hosts suitable, and share what was found out.
	taste       unique.Handle[string]
	constraints []manifest.Condition
	affinities  []manifest.Affinity
	spread      []manifest.Spread
}

// other is another container of the app that must, or must not, be on the host.
type other struct {
	ref    state.Ref
	reason string // of a host where that is not so
}

// port is a fixed port on the host.
type port struct {
	number hostPort
	reason string // of a host where it is taken
}

// hostPort tells fixed ports apart.
type hostPort struct {
	number int
	udp    bool
}

// NewDemand compiles a manifest, which is valid.
func NewDemand(ref state.Ref, m *manifest.Manifest) *Demand {
	d := &Demand{
		Ref: ref, maxPerHost: m.MaxPerHost,
		cpus: millionths(m.Resources.Reserve.CPUs), memory: m.Resources.Reserve.Memory,
		constraints: m.Constraints, affinities: m.Affinities, spread: m.Spread,
	}
	for _, name := range m.Near {
		d.near = append(d.near, other{state.Ref{App: ref.App, Name: name}, "near " + name})
	}
	for _, name := range m.Apart {
		d.apart = append(d.apart, other{state.Ref{App: ref.App, Name: name}, apartFrom(name)})
	}
	for _, service := range m.Services {
		if n := service.HostPort; n > 0 {
			d.ports = append(d.ports, port{hostPort{n, service.UDP()}, "host port " + strconv.Itoa(n)})
		}
	}
	slices.SortFunc(d.ports, func(a, b port) int { return cmp.Compare(a.number.number, b.number.number) })
	if len(d.constraints)+len(d.affinities)+len(d.spread) > 0 {
		text, _ := json.Marshal([]any{d.constraints, d.affinities, d.spread}) // texts and numbers only
		d.taste = unique.Make(string(text))
	}
	return d
}

func apartFrom(name string) string { return "apart from " + name }
