package conductor

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
)

// eventOf is the event that a change of the scheduler's is, ok is false if it is none that a
// person would want to know of.
func eventOf(change schedule.Change) (e state.Event, ok bool) {
	key, ok := state.ParseAppKey(change.Key)
	gone := change.Kind == schedule.Delete
	if !ok || change.Kind == schedule.Prune {
		return e, false
	}
	e = state.Event{App: key.App, Name: key.Name, Reason: change.Reason}
	switch key.Kind {
	case "hosts":
		e.Slot = key.Item
		return ofSlot(e, change.Value), true
	case "rollout":
		e.Kind = "rollout"
		var rollout state.Rollout
		if !gone && json.Unmarshal([]byte(change.Value), &rollout) == nil {
			e.Reason = because(fmt.Sprintf("%s from revision %d to %d", rollout.Phase, rollout.From, rollout.To), orElse(rollout.Reason, change.Reason))
		}
		return e, true
	case "revisions":
		e.Kind = "revision"
		var revision state.Revision
		if !gone && json.Unmarshal([]byte(change.Value), &revision) == nil {
			e.Reason = because(strings.TrimSpace(fmt.Sprintf("%d %s", key.Item, revision.Verdict)), orElse(revision.Reason, change.Reason))
		}
		return e, !gone
	case "runs":
		e.Kind = "run"
		var run state.Run
		if !gone && json.Unmarshal([]byte(change.Value), &run) == nil {
			e.Host, e.Instance, e.Slot = run.Host, run.Instance, run.Slot
			e.Reason = because(fmt.Sprintf("%s %s", key.ID, run.Phase), run.Reason)
		}
		return e, !gone
	case "status":
		e.Kind = "refused"
		var status state.Status
		if !gone && json.Unmarshal([]byte(change.Value), &status) == nil {
			e.Reason = strings.Join(status.Errors, "; ")
		}
		return e, !gone && len(status.Errors) > 0
	}
	return e, false
}

// refusals are why manifests are refused, as events told last.
type refusals map[state.Ref]string

// news tells whether a change is news, which eventOf made e of. That a manifest is refused stands in
// a status that is written whenever something else in it changes.
func (r refusals) news(change schedule.Change, e state.Event) bool {
	key, ok := state.ParseAppKey(change.Key)
	if !ok || key.Kind != "status" {
		return true
	}
	why, before := e.Reason, r[key.Ref]
	if why == "" || change.Kind == schedule.Delete {
		delete(r, key.Ref)
		return false
	}
	r[key.Ref] = why
	return why != before
}

// ofSlot makes e the event that a slot is given a new value, "" if it is deleted.
func ofSlot(e state.Event, value string) state.Event {
	var slot state.Slot
	e.Kind = "vacated"
	if json.Unmarshal([]byte(value), &slot) != nil {
		return e
	}
	for _, a := range []*state.Assignment{slot.Current, slot.Next} {
		if a != nil {
			e.Kind, e.Host, e.Instance = "assigned", a.Host, a.Instance
		}
	}
	return e
}

func because(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + why
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// hostLog turns what one scheduler sees of the hosts into events. What it sees at its first look
// happened before its time.
type hostLog struct {
	told map[string]schedule.Host // as events tell of them; nil before the first look
}

// observe returns what happened since the last look.
func (l *hostLog) observe(hosts map[string]schedule.Host) (events []state.Event) {
	if l.told == nil {
		l.told = maps.Clone(hosts)
		return nil
	}
	for _, ip := range slices.Sorted(maps.Keys(hosts)) {
		host := hosts[ip]
		was, known := l.told[ip]
		if host.Liveness == schedule.Missing || !known && host.Liveness == schedule.Lost {
			continue // it may be back in a moment; and a new host is remembered before it has its lease
		}
		l.told[ip] = host
		if kind, reason := hostEvent(was, known, host); kind != "" {
			events = append(events, state.Event{Kind: kind, Host: ip, Reason: reason})
		}
	}
	maps.DeleteFunc(l.told, func(ip string, _ schedule.Host) bool { _, there := hosts[ip]; return !there })
	return events
}

func hostEvent(was schedule.Host, known bool, host schedule.Host) (kind, reason string) {
	switch {
	case !known:
		return "host joined", closed(host)
	case host.Liveness == schedule.Lost && was.Liveness != schedule.Lost:
		return "host lost", "its lease ended"
	case host.Liveness == schedule.Lost:
		return "", ""
	case was.Liveness == schedule.Lost:
		return "host back", closed(host)
	case closed(host) == closed(was):
		return "", ""
	case closed(host) != "":
		return "host closed", closed(host)
	}
	return "host open", "it takes new instances again"
}

// closed says why a host takes no new instances, "" if it does.
func closed(host schedule.Host) string {
	switch {
	case host.Condition != "":
		return host.Condition
	case host.Availability == state.Drained:
		return "it is drained"
	case host.Availability == state.Cordoned:
		return "it is cordoned"
	}
	return ""
}
