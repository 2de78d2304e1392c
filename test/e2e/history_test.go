//go:build faults

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// history is what was written into etcd, in its order, and what of that must never happen: more
// assigned than scale and surge, a healthy assigned instance stopped, or anything back and forth.
type history struct {
	limits   map[state.Ref]*limits
	slots    map[state.Ref]map[int]state.Slot
	observed map[string]observed // by instance
	named    map[string]bool     // instances that a slot named at any time
	losses   int                 // leases of hosts that ended
	anew     int                 // times that all was read anew, writes having been missed
	faults   []string
	lines    []string
}

// limits are what a container's manifests allow, the most that any of them did.
type limits struct {
	scale, surge int
	global       bool
	writes       int // of the manifest since the history began
	assigned     map[int][]string
}

type observed struct {
	state.Observed
	host  string
	flips int // from healthy to not
}

// write is a change of a key.
type write struct {
	key, value string
	gone       bool
	expired    bool // it is gone because its time to live was over
	index      uint64
	at         time.Time
}

func newHistory() *history {
	return &history{limits: map[state.Ref]*limits{}, slots: map[state.Ref]map[int]state.Slot{},
		observed: map[string]observed{}, named: map[string]bool{}}
}

// begin takes in a key as it stands: what led to it is not known.
func (h *history) begin(w write) {
	before := h.losses
	h.take(w)
	h.losses, h.faults = before, nil
	if key, ok := state.ParseAppKey(w.key); ok {
		l := h.of(key.Ref)
		l.writes = 0
		clear(l.assigned)
	}
}

// take takes in a write.
func (h *history) take(w write) {
	if key, ok := state.ParseAppKey(w.key); ok {
		switch key.Kind {
		case "manifest", "scale":
			h.wanted(key, w)
		case "hosts":
			h.slot(key, w)
		}
		return
	}
	key, ok := state.ParseHostKey(w.key)
	switch {
	case !ok:
	case key.Kind == "instances":
		h.instance(key, w)
	case key.Kind == "lease" && w.expired:
		h.losses++
		h.note(w, "the lease of %s ended", key.IP)
	}
}

func (h *history) of(ref state.Ref) *limits {
	if h.limits[ref] == nil {
		h.limits[ref] = &limits{assigned: map[int][]string{}}
		h.slots[ref] = map[int]state.Slot{}
	}
	return h.limits[ref]
}

// wanted takes in what a user writes. A manifest that is refused allows nothing.
func (h *history) wanted(key state.AppKey, w write) {
	l := h.of(key.Ref)
	l.writes++
	h.note(w, "%s of %s is written", key.Kind, key.Ref)
	if w.gone {
		return
	}
	if key.Kind == "scale" {
		var s state.Scale
		if json.Unmarshal([]byte(w.value), &s) == nil {
			l.scale = max(l.scale, s.Scale)
		}
		return
	}
	if m, err := manifest.ParseFor(key.App, key.Name, []byte(w.value)); err == nil {
		l.scale, l.surge, l.global = max(l.scale, m.Scale), max(l.surge, m.Update.MaxParallel), m.Mode == manifest.Global
	}
}

// slot takes in what a slot became, and that no more are assigned than may be. The replacement of
// what is lost is not beside anything.
func (h *history) slot(key state.AppKey, w write) {
	l, slots := h.of(key.Ref), h.slots[key.Ref]
	var slot state.Slot
	if !w.gone && json.Unmarshal([]byte(w.value), &slot) != nil {
		h.fault(w, "slot %s %d is unreadable: %s", key.Ref, key.Item, w.value)
		return
	}
	if slots[key.Item] = slot; w.gone {
		delete(slots, key.Item)
	}
	for _, a := range []*state.Assignment{slot.Current, slot.Next} {
		if a != nil && !h.named[a.Instance] {
			h.named[a.Instance] = true
			l.assigned[key.Item] = append(l.assigned[key.Item], fmt.Sprintf("%s on %s (%s)", a.Instance, a.Host, a.Reason))
		}
	}
	h.note(w, "slot %s %d: %s", key.Ref, key.Item, slotText(slot))
	filled, beside := 0, 0
	for _, s := range slots {
		if s.Current != nil {
			filled++
		}
		if s.Next != nil && s.Next.Reason != state.ReasonHostLost {
			beside++
		}
	}
	if !l.global && filled > l.scale {
		h.fault(w, "%d instances of %s are assigned, of %d", filled, key.Ref, l.scale)
	}
	if beside > l.surge {
		h.fault(w, "%d instances of %s are assigned beside others, of %d that may be", beside, key.Ref, l.surge)
	}
}

func slotText(s state.Slot) string {
	text := ""
	for name, a := range map[string]*state.Assignment{"current": s.Current, "next": s.Next} {
		if a != nil {
			text += fmt.Sprintf("%s %s on %s, revision %d, %s; ", name, a.Instance, a.Host, a.Revision, a.Reason)
		}
	}
	if text == "" {
		return "nothing"
	}
	return text
}

// instance takes in how an instance is, and that its host does not stop what is healthy and wanted.
func (h *history) instance(key state.HostKey, w write) {
	was := h.observed[key.Item]
	now := observed{host: key.IP, flips: was.flips}
	if w.gone {
		delete(h.observed, key.Item)
		h.note(w, "instance %s is gone from %s, was %s", key.Item, key.IP, was.Phase)
	} else {
		if json.Unmarshal([]byte(w.value), &now.Observed) != nil {
			h.fault(w, "state of %s is unreadable: %s", key.Item, w.value)
			return
		}
		if now.Phase != was.Phase || now.Reason != was.Reason {
			h.note(w, "instance %s of %s %d on %s is %s %s", key.Item, now.Ref, now.Slot, key.IP, now.Phase, now.Reason)
		}
	}
	ends := w.gone || now.Phase == state.PhaseStopping
	if was.Phase == state.PhaseHealthy && ends && h.isAssigned(was.Ref, key.Item) {
		h.fault(w, "instance %s of %s on %s was healthy and is assigned, but is ended", key.Item, was.Ref, key.IP)
	}
	if was.Phase == state.PhaseHealthy && now.Phase != state.PhaseHealthy && !ends {
		now.flips++
	}
	if !w.gone {
		h.observed[key.Item] = now
	}
}

// isAssigned tells whether a slot names an instance now.
func (h *history) isAssigned(ref state.Ref, instance string) bool {
	for _, s := range h.slots[ref] {
		if s.Current != nil && s.Current.Instance == instance || s.Next != nil && s.Next.Instance == instance {
			return true
		}
	}
	return false
}

// flips is how often an instance may be healthy and then not.
const flips = 3

// flapping are the slots that were assigned oftener than anything asked for, and the instances that
// were well and ill by turns. Each write of a manifest may be rolled back, and each host that is
// lost comes back and gets its share; what runs on every host never moves.
func (h *history) flapping() (all []string) {
	for ref, l := range h.limits {
		most := 2*l.writes + 2*h.losses + 1 + h.anew
		if l.global {
			most = 2*l.writes + h.anew
		}
		for _, n := range slices.Sorted(maps.Keys(l.assigned)) {
			if times := len(l.assigned[n]); times > most {
				all = append(all, fmt.Sprintf("slot %d of %s was assigned %d times: %v", n, ref, times, l.assigned[n]))
			}
		}
	}
	for id, o := range h.observed {
		if o.flips > flips {
			all = append(all, fmt.Sprintf("instance %s of %s on %s stopped being healthy %d times", id, o.Ref, o.host, o.flips))
		}
	}
	return all
}

func (h *history) fault(w write, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	h.note(w, "FAULT: %s", text)
	h.faults = append(h.faults, fmt.Sprintf("%s at index %d: %s", w.at.Format("15:04:05.000"), w.index, text))
}

func (h *history) note(w write, format string, args ...any) {
	h.lines = append(h.lines, fmt.Sprintf("%s %d ", w.at.UTC().Format("15:04:05.000"), w.index)+fmt.Sprintf(format, args...))
}
