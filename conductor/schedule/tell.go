package schedule

import (
	"encoding/json"
	"maps"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule/placement"
	"github.com/dokkaa/dokkaa/internal/state"
)

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
func (p *Planner) Touch(ref state.Ref) {
	p.touch(ref)
	p.claim(ref)
}

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
	p.claim(ref)
	p.accompany(ref, nil)
	delete(p.demands, ref)
	delete(p.targets, ref)
	delete(p.avoid, ref)
	for on := range p.waiting {
		relate(p.waiting, on, ref, false)
	}
	maps.Copy(p.dirty, p.company[ref])
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
