package agent

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
)

// entry is what a key of this host is to hold.
type entry struct {
	value string
	// keep leaves what the key holds: nothing new is known. A value beside it is written only
	// if the key is not there.
	keep bool
}

// wish is what this host's keys are to be.
type wish struct {
	entries map[string]entry
	// kept are instances of which every record stays as it is, whatever the entries say: it is not
	// known what they should be.
	kept map[string]bool
	// allVolumes says that the host has no volumes beside those that entries are of.
	allVolumes bool
}

// keeps tells whether a key stays as it is that no entry is of.
func (w wish) keeps(key string) bool {
	k, ok := state.ParseHostKey(key)
	return w.kept[recordOf(key)] || ok && k.Kind == "volumes" && !w.allVolumes
}

func (w wish) equal(o wish) bool {
	return maps.Equal(w.entries, o.entries) && maps.Equal(w.kept, o.kept) && w.allVolumes == o.allVolumes
}

// wish is what this host is to publish, see publisher.
func (a *Agent) wish(want map[string]Desired, unreadable map[Place]bool, now time.Time) wish {
	a.metrics.instances.Reset()
	w := wish{entries: map[string]entry{}, kept: map[string]bool{}}
	a.volumeEntries(&w)
	byInstance, _ := sortOut(a.containers)
	for id, d := range want {
		c, exists := byInstance[id]
		maps.Copy(w.entries, a.wantedEntries(d, c, exists, now))
		// What its records should be is in a revision that cannot be read.
		w.kept[id] = d.Invalid != "" && exists && c.Status == engine.StatusRunning
	}
	for id, c := range byInstance {
		if _, wanted := want[id]; wanted {
			continue
		}
		own := a.stateEntry(a.observeOutgoing(c, now))
		own.keep = unreadable[Place{c.Ref, c.Slot}]
		w.entries[a.stateKey(id)] = own
		// Until it is being removed nothing of it may be withdrawn: the store is not known.
		w.kept[id] = !a.withdrawing(id)
	}
	return w
}

// wantedEntries are those of an instance that is assigned here.
func (a *Agent) wantedEntries(d Desired, c engine.Container, exists bool, now time.Time) map[string]entry {
	announce := records(a.HostIP, d, c)
	observed, health := a.observe(d, c, exists, a.unannounced(d), now)
	running := exists && c.Status == engine.StatusRunning
	unrecorded := a.complete(&observed, d, c)
	own := a.stateEntry(observed)
	switch {
	case unrecorded:
		own.keep = true
	case !running && a.explaining(d.Instance):
		own = entry{keep: true} // who sees that it ended may take it away
	case !running:
	case health == Unprobed:
		own.keep = !a.slow(d, now)
	case observed.Phase == state.PhaseHealthy && !a.publisher.holds(announce):
		own = entry{keep: true} // for others it is only when it can be found
	}
	entries := map[string]entry{a.stateKey(d.Instance): own}
	if !running || health == Unhealthy || a.withdrawing(d.Instance) {
		return entries
	}
	for key, value := range announce {
		entries[key] = entry{value: value}
		if health == Unprobed {
			entries[key] = entry{keep: true}
		}
	}
	return entries
}

// unannounced says why a service of the instance cannot be announced, "" if nothing is known to
// be in the way.
func (a *Agent) unannounced(d Desired) string {
	for _, name := range d.serviceNames() {
		for _, key := range recordKeys(d, name) {
			if err := a.publisher.refusal(key); err != nil {
				return fmt.Sprintf("service %s cannot be announced: %v", name, err)
			}
		}
	}
	return ""
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
