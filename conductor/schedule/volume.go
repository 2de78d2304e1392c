package schedule

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// volume is one that hosts of the cluster have. Slot 0 is of all slots.
type volume struct {
	slot  int
	hosts map[string]bool
}

func (p *Planner) setVolume(key state.HostKey, v state.Volume) {
	if p.volumes[v.Ref] == nil {
		p.volumes[v.Ref] = map[string]volume{}
	}
	held := p.volumes[v.Ref][key.Item]
	if held.slot = v.Slot; held.hosts == nil {
		held.hosts = map[string]bool{}
	}
	held.hosts[key.IP] = true
	p.volumes[v.Ref][key.Item] = held
	p.owners[key.IP+"/"+key.Item] = v.Ref
	p.touch(v.Ref)
}

func (p *Planner) unsetVolume(key state.HostKey) {
	ref, known := p.owners[key.IP+"/"+key.Item]
	if !known {
		return
	}
	delete(p.owners, key.IP+"/"+key.Item)
	delete(p.volumes[ref][key.Item].hosts, key.IP)
	if len(p.volumes[ref][key.Item].hosts) == 0 {
		delete(p.volumes[ref], key.Item)
	}
	if len(p.volumes[ref]) == 0 {
		delete(p.volumes, ref)
	}
	p.touch(ref)
}

// bound are the volumes of the container that are on one host only.
func (c *container) bound() (volumes []manifest.Volume) {
	for _, v := range c.spec.Volumes {
		if v.AccessMode != manifest.MultiWriter && !v.Movable() {
			volumes = append(volumes, v)
		}
	}
	return volumes
}

// holders are the hosts of the cluster that have bound volumes of a slot, in order.
func (c *container) holders(n int) []string {
	hosts := map[string]bool{}
	for _, v := range c.bound() {
		maps.Copy(hosts, c.p.volumes[c.ref][v.DockerName(c.ref.App, c.ref.Name, n)].hosts)
		if v.AccessMode == manifest.SingleHost {
			for _, s := range c.app.slots {
				for _, a := range s.assignments() {
					if !c.p.lost(a.Host) { // it has the volume, or else there is none
						hosts[a.Host] = true
					}
				}
			}
		}
	}
	maps.DeleteFunc(hosts, func(ip string, _ bool) bool { _, known := c.p.hosts[ip]; return !known })
	return slices.SortedFunc(maps.Keys(hosts), compareIPs)
}

// pin is the host that a slot must run on because its volumes are there, or why it has to wait for
// it; neither if it may run anywhere.
func (c *container) pin(n int) (host, why string) {
	holders := c.holders(n)
	if len(holders) == 0 {
		return "", ""
	}
	for _, ip := range holders {
		if h := c.p.hosts[ip]; h.Liveness == Alive && h.Condition == "" {
			return ip, ""
		}
	}
	first := c.p.hosts[holders[0]]
	if first.Liveness == Alive {
		return "", fmt.Sprintf("%s is on host %s: %s", c.volumeNames(), holders[0], first.Condition)
	}
	if c.moveEmpty() {
		return "", ""
	}
	return "", fmt.Sprintf("waits for host %s, which has %s", holders[0], c.volumeNames())
}

// pinned says why a slot cannot leave its host, "" if it can.
func (c *container) pinned(n int) string {
	holders := c.holders(n)
	if len(holders) == 0 {
		return ""
	}
	return fmt.Sprintf("stays on host %s, which has %s", holders[0], c.volumeNames())
}

// volumeWait says why an instance on a lost host waits for it, "" if it does not: it never had a
// volume there, or the operator gave that up.
func (c *container) volumeWait(n int) string {
	if c.moveEmpty() || !slices.Contains(c.holders(n), c.app.slots[n].Current.Host) {
		return ""
	}
	return fmt.Sprintf("waits for host %s, which has %s", c.app.slots[n].Current.Host, c.volumeNames())
}

// moveEmpty tells whether the container rather starts with empty volumes than waits for its host.
func (c *container) moveEmpty() bool {
	return !slices.ContainsFunc(c.bound(), func(v manifest.Volume) bool { return v.OnHostLoss != manifest.VolumeMoveEmpty })
}

func (c *container) volumeNames() string {
	var names []string
	for _, v := range c.bound() {
		names = append(names, v.Name)
	}
	if len(names) == 1 {
		return "volume " + names[0]
	}
	return "volumes " + strings.Join(names, ", ")
}
