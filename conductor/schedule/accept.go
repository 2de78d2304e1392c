package schedule

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// parse validates a manifest alone.
func parse(ref state.Ref, text string) (*manifest.Manifest, []string) {
	m, err := manifest.ParseFor(ref.App, ref.Name, []byte(text))
	var errs manifest.Errors
	if errors.As(err, &errs) {
		return nil, errs.Strings()
	}
	return m, nil
}

// accept validates the container's manifest also against the others. A bad one hurts no other.
func (c *container) accept() {
	v := c.app.manifest
	c.errors = v.errors
	if v.parsed == nil {
		return
	}
	for _, service := range slices.Sorted(maps.Keys(v.parsed.Services)) {
		if owner := c.p.serviceOwner(c.ref, service); owner != c.ref {
			c.errors = append(c.errors, fmt.Sprintf("services.%s: container %q of the app offers a service of this name already", service, owner.Name))
		}
	}
	c.versions = manifest.Versions{Restart: c.app.restart}
	for i, s := range v.parsed.Secrets {
		c.resolve(fmt.Sprintf("secrets[%d]", i), s.Source, c.p.versions.secrets, &c.versions.Secrets)
	}
	for i, s := range v.parsed.Configs {
		if s.Source != "" {
			c.resolve(fmt.Sprintf("configs[%d]", i), s.Source, c.p.versions.configs, &c.versions.Configs)
		}
	}
	c.refuseCircles()
	if len(c.errors) == 0 {
		c.manifest = v.parsed
	}
}

// resolve finds the version of a secret or config that a source means: the newest, or the one that
// it names.
func (c *container) resolve(path, source string, all map[string]map[int]bool, to *map[string]int) {
	name, pinned, isPinned := strings.Cut(source, "@")
	there := all[c.ref.App+"/"+name]
	version := 0
	for v := range there {
		version = max(version, v)
	}
	if isPinned {
		version, _ = strconv.Atoi(pinned) // was validated; 0 is never there
	}
	if !there[version] {
		c.errors = append(c.errors, fmt.Sprintf("%s: %s is not set in app %s", path, source, c.ref.App))
		return
	}
	if *to == nil {
		*to = map[string]int{}
	}
	(*to)[source] = version
}

// claim notes which services a container offers or wants to offer.
func (p *Planner) claim(ref state.Ref) {
	a := p.planning(ref)
	before, claimed := p.claimed[ref], map[string]bool{}
	if a != nil && a.manifest != nil {
		for _, m := range []*manifest.Manifest{a.manifest.parsed, a.revisions[a.latest()].parsed} {
			if m != nil {
				for service := range m.Services {
					claimed[ref.App+"/"+service] = true
				}
			}
		}
	}
	delete(p.claimed, ref)
	if len(claimed) > 0 {
		p.claimed[ref] = claimed
	}
	for service := range before {
		if !claimed[service] {
			p.unclaim(service, ref)
		}
	}
	for service := range claimed {
		if p.claims[service] == nil {
			p.claims[service] = map[state.Ref]bool{}
		}
		p.claims[service][ref] = true
		for other := range p.claims[service] {
			p.dirty[other] = true
		}
	}
}

func (p *Planner) unclaim(service string, ref state.Ref) {
	delete(p.claims[service], ref)
	for other := range p.claims[service] {
		p.dirty[other] = true
	}
	if len(p.claims[service]) == 0 {
		delete(p.claims, service)
	}
}

// serviceOwner is the container of the app that has a service: what is in force counts first,
// then age.
func (p *Planner) serviceOwner(asking state.Ref, service string) state.Ref {
	refs := slices.Collect(maps.Keys(p.claims[asking.App+"/"+service]))
	if len(refs) < 2 {
		return asking
	}
	inForce := func(ref state.Ref) int {
		a := p.planning(ref)
		if m := a.revisions[a.latest()].parsed; m != nil {
			if _, offers := m.Services[service]; offers {
				return 0
			}
		}
		return 1
	}
	return slices.MinFunc(refs, func(a, b state.Ref) int {
		return cmp.Or(cmp.Compare(inForce(a), inForce(b)),
			cmp.Compare(p.apps[a].manifest.created, p.apps[b].manifest.created), compareRefs(a, b))
	})
}
