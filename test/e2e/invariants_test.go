package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/skydns/msg"
)

// calm waits until the cluster is, and stays, as the manifests want it: every container healthy,
// nothing running twice or left over, records of exactly what runs, and every member of etcd back.
// Of a host that is set aside nothing is known but that what runs on every host waits for it.
func (c *cluster) calm(stated time.Duration) {
	c.t.Helper()
	c.eventually(stated, "all is as it should be", func() error {
		if err := c.asWanted(); err != nil {
			return err
		}
		time.Sleep(time.Second) // a move may be about to begin
		return c.asWanted()
	})
}

func (c *cluster) asWanted() error {
	apps, err := c.keys(c.aHost(), state.AppsDir)
	if err != nil {
		return err
	}
	apps = c.withoutWaiting(apps)
	if err := allHealthy(apps); err != nil {
		return err
	}
	if err := c.membersHealthy(); err != nil {
		return err
	}
	running := c.instances("")
	if err := c.runsAssigned(apps, running); err != nil {
		return err
	}
	if err := c.hostsReport(running); err != nil {
		return err
	}
	return c.announces(running)
}

// membersHealthy: every member of etcd is one of a majority again.
func (c *cluster) membersHealthy() error {
	members := c.scale
	if c.scale < 3 {
		members = 1
	}
	for n := 1; n <= members; n++ {
		if !c.answers(n) {
			continue
		}
		out, err := c.try("curl", "-sS", "--max-time", "2", "http://"+c.ip(n)+":2379/health")
		if err == nil && !strings.Contains(out, `"health":"true"`) {
			err = fmt.Errorf("etcd on host %d: %s", n, out)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// withoutWaiting leaves out what waits for the host that is set aside: its slots of containers that
// run on every host, and that they are wanted.
func (c *cluster) withoutWaiting(apps map[string]string) map[string]string {
	if c.aside == 0 {
		return apps
	}
	rest := maps.Clone(apps)
	for key := range apps {
		k, ok := state.ParseAppKey(key)
		if !ok || k.Kind != "manifest" || !strings.Contains(apps[key], `"mode": "global"`) {
			continue
		}
		var s state.Status
		if json.Unmarshal([]byte(apps[k.StatusKey()]), &s) != nil || s.State != schedule.StatePending {
			continue
		}
		s.Slots = slices.DeleteFunc(s.Slots, func(slot state.SlotStatus) bool {
			waits := slot.Host == c.ip(c.aside) && slot.Phase != state.PhaseHealthy
			if waits {
				s.Wanted--
				delete(rest, k.SlotKey(slot.Slot))
			}
			return waits
		})
		if s.Healthy == s.Wanted {
			s.State = schedule.StateRunning
		}
		value, err := json.Marshal(s)
		if err != nil {
			c.t.Fatal(err)
		}
		rest[k.StatusKey()] = string(value)
	}
	return rest
}

// allHealthy: the status of every container says that all wanted instances are healthy.
func allHealthy(apps map[string]string) error {
	for key := range apps {
		k, ok := state.ParseAppKey(key)
		if !ok || k.Kind != "manifest" {
			continue
		}
		var s state.Status
		if err := json.Unmarshal([]byte(apps[k.StatusKey()]), &s); err != nil {
			return fmt.Errorf("status of %s: %w", k.Ref, err)
		}
		if s.State != schedule.StateRunning || s.Healthy != s.Wanted || len(s.Slots) != s.Wanted || len(s.Errors) > 0 {
			return fmt.Errorf("status of %s: %+v", k.Ref, s)
		}
	}
	return nil
}

// runsAssigned: the instances that run are those that the slots name, each once and on its host.
func (c *cluster) runsAssigned(apps map[string]string, running []instance) error {
	var want, have []string
	for key, value := range apps {
		k, ok := state.ParseAppKey(key)
		if !ok || k.Kind != "hosts" {
			continue
		}
		var slot state.Slot
		if err := json.Unmarshal([]byte(value), &slot); err != nil {
			return fmt.Errorf("slot %s: %w", key, err)
		}
		if slot.Current == nil || slot.Next != nil {
			return fmt.Errorf("slot %s is being changed: %s", key, value)
		}
		want = append(want, slot.Current.Host+" "+slot.Current.Instance)
	}
	for _, i := range running {
		have = append(have, c.ip(i.host)+" "+i.instance)
	}
	return same("assigned and running instances", want, have)
}

// hostsReport: every host has its lease and reports exactly what runs on it.
func (c *cluster) hostsReport(running []instance) error {
	keys, err := c.keys(c.aHost(), state.HostsDir)
	if err != nil {
		return err
	}
	silent := map[string]bool{} // what a host reported last before it was lost stays
	for n := 1; n <= c.scale; n++ {
		_, leased := keys[state.HostLeaseKey(c.ip(n))]
		if c.answers(n) && !leased {
			return fmt.Errorf("host %d has no lease", n)
		}
		silent[c.ip(n)] = !c.answers(n)
	}
	var want, have []string
	for _, i := range running {
		want = append(want, state.InstanceKey(c.ip(i.host), i.instance))
	}
	for key := range keys {
		if k, ok := state.ParseHostKey(key); ok && k.Kind == "instances" && !silent[k.IP] {
			have = append(have, key)
		}
	}
	return same("running and reported instances", want, have)
}

// announces: there are records of exactly the instances that run, and every nameserver answers
// with them. In this cluster a container offers one service at most, under its own name.
func (c *cluster) announces(running []instance) error {
	keys, err := c.keys(c.aHost(), state.RecordsDir)
	if err != nil {
		return err
	}
	var want, have []string
	published := map[string][]string{}
	for _, i := range running {
		if i.published != "" {
			want = append(want, state.RecordKey("dummy", i.of, i.instance)+" "+i.published)
			published[i.of] = append(published[i.of], i.published)
		}
	}
	for key, value := range keys {
		var record msg.Service
		if err := json.Unmarshal([]byte(value), &record); err != nil {
			return fmt.Errorf("record %s: %w", key, err)
		}
		have = append(have, fmt.Sprintf("%s %s:%d", key, record.Host, record.Port))
	}
	if err := same("running instances and records", want, have); err != nil {
		return err
	}
	for n := 1; n <= c.scale; n++ {
		for _, service := range slices.Sorted(maps.Keys(published)) {
			if !c.answers(n) {
				continue
			}
			got, err := c.srv(n, service+".dummy.skydns.local")
			if err != nil {
				return err
			}
			if err := same(fmt.Sprintf("%s and what host %d answers", service, n), published[service], got); err != nil {
				return err
			}
		}
	}
	return nil
}

// same compares two sets in which nothing may be twice.
func same(what string, a, b []string) error {
	slices.Sort(a)
	slices.Sort(b)
	if !slices.Equal(a, b) {
		return fmt.Errorf("%s differ:\n%s\n%s", what, strings.Join(a, ", "), strings.Join(b, ", "))
	}
	return nil
}
