package agent

import (
	"encoding/json"
	"maps"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
)

// entries are the keys that this host is to hold, see publisher.
func (a *Agent) entries(want map[string]Desired, now time.Time) map[string]entry {
	a.metrics.instances.Reset()
	entries := map[string]entry{}
	byInstance, _ := sortOut(a.containers)
	for id, d := range want {
		c, exists := byInstance[id]
		maps.Copy(entries, a.wantedEntries(d, c, exists, now))
	}
	for id, c := range byInstance {
		if _, wanted := want[id]; !wanted {
			maps.Copy(entries, a.outgoingEntries(c, now))
		}
	}
	return entries
}

// wantedEntries are those of an instance that is assigned here.
func (a *Agent) wantedEntries(d Desired, c engine.Container, exists bool, now time.Time) map[string]entry {
	observed, health := a.observe(d, c, exists, now)
	running := exists && c.Status == engine.StatusRunning
	own := a.stateEntry(observed)
	own.keep = running && health == Unprobed && !a.slow(d.Instance, now)
	entries := map[string]entry{a.stateKey(d.Instance): own}
	if !running || health == Unhealthy {
		return entries
	}
	for key, value := range records(a.HostIP, d, c) {
		entries[key] = entry{value: value}
		if health == Unprobed {
			entries[key] = entry{keep: true}
		}
	}
	return entries
}

// outgoingEntries are those of an instance that is not assigned here any more. Until it is
// being removed nothing of it may be withdrawn: the store is not known.
func (a *Agent) outgoingEntries(c engine.Container, now time.Time) map[string]entry {
	entries := map[string]entry{a.stateKey(c.Instance): a.stateEntry(a.observeOutgoing(c, now))}
	if !a.withdrawing(c.Instance) {
		for _, key := range a.publisher.records(c.Instance) {
			entries[key] = entry{keep: true}
		}
	}
	return entries
}

func (a *Agent) stateKey(instance string) string { return state.InstanceKey(a.HostIP, instance) }

func (a *Agent) stateEntry(observed state.Observed) entry {
	a.metrics.instances.WithLabelValues(string(observed.Phase)).Inc()
	value, err := json.Marshal(observed)
	if err != nil {
		panic(err) // strings, numbers and a time can be marshalled
	}
	return entry{value: string(value)}
}
