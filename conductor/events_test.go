package conductor

import (
	"fmt"
	"slices"
	"testing"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
)

func TestEventsOfChanges(t *testing.T) {
	type change = schedule.Change
	ref := state.Ref{App: "dummy", Name: "nginx"}
	for name, test := range map[string]struct {
		change change
		want   state.Event // Kind "" for none
	}{
		"slot assigned": {
			change{Key: ref.SlotKey(2), Value: `{"current": {"host": "10.0.0.1", "instance": "i1"}}`, Reason: "new slot: on 10.0.0.1"},
			state.Event{Kind: "assigned", Host: "10.0.0.1", Instance: "i1", Slot: 2, Reason: "new slot: on 10.0.0.1"},
		},
		"slot to be replaced": {
			change{Key: ref.SlotKey(2), Value: `{"current": {"host": "a", "instance": "i1"}, "next": {"host": "b", "instance": "i2"}}`, Reason: "its host is lost: next on b"},
			state.Event{Kind: "assigned", Host: "b", Instance: "i2", Slot: 2, Reason: "its host is lost: next on b"},
		},
		"slot vacated": {
			change{Key: ref.SlotKey(2), Value: `{"generation": 3}`, Reason: "the slot is not wanted any more"},
			state.Event{Kind: "vacated", Slot: 2, Reason: "the slot is not wanted any more"},
		},
		"slot gone": {
			change{Kind: schedule.Delete, Key: ref.SlotKey(2), Reason: "nothing runs in the slot any more"},
			state.Event{Kind: "vacated", Slot: 2, Reason: "nothing runs in the slot any more"},
		},
		"rollout": {
			change{Key: ref.RolloutKey(), Value: `{"from": 1, "to": 2, "phase": "rolling back", "reason": "slot 1 failed"}`, Reason: "x"},
			state.Event{Kind: "rollout", Reason: "rolling back from revision 1 to 2: slot 1 failed"},
		},
		"end of a rollout": {
			change{Kind: schedule.Delete, Key: ref.RolloutKey(), Reason: "done"}, state.Event{Kind: "rollout", Reason: "done"},
		},
		"revision": {
			change{Kind: schedule.Create, Key: ref.RevisionKey(3), Value: `{}`, Reason: state.ReasonRevision},
			state.Event{Kind: "revision", Reason: "3: the manifest changed"},
		},
		"verdict": {
			change{Kind: schedule.Swap, Key: ref.RevisionKey(3), Value: `{"verdict": "failed", "reason": "slot 1 exits"}`, Reason: "x"},
			state.Event{Kind: "revision", Reason: "3 failed: slot 1 exits"},
		},
		"forgotten revision": {change{Kind: schedule.Delete, Key: ref.RevisionKey(3), Reason: "old"}, state.Event{}},
		"run": {
			change{Kind: schedule.Create, Key: ref.RunKey("7"), Value: `{"phase": "failed", "slot": 1, "host": "a", "instance": "i1", "reason": "exit code 1"}`, Reason: "x"},
			state.Event{Kind: "run", Host: "a", Instance: "i1", Slot: 1, Reason: "7 failed: exit code 1"},
		},
		"refused manifest": {
			change{Key: ref.StatusKey(), Value: `{"errors": ["image: required", "scael: unknown"]}`},
			state.Event{Kind: "refused", Reason: "image: required; scael: unknown"},
		},
		"any other status": {change{Key: ref.StatusKey(), Value: `{}`}, state.Event{}},
		"empty directory":  {change{Kind: schedule.Prune, Key: ref.Dir() + "/hosts"}, state.Event{}},
		"another key":      {change{Key: "/hosts/a/lease"}, state.Event{}},
	} {
		t.Run(name, func(t *testing.T) {
			if test.want.Kind != "" {
				test.want.App, test.want.Name = ref.App, ref.Name
			}
			got, ok := eventOf(test.change)
			if ok != (test.want.Kind != "") || ok && got != test.want {
				t.Errorf("got %+v, %v; want %+v", got, ok, test.want)
			}
		})
	}
}

// TestRefusalIsToldOnce: the status that it stands in is written whenever an instance changes.
func TestRefusalIsToldOnce(t *testing.T) {
	key, told := (state.Ref{App: "x", Name: "y"}).StatusKey(), refusals{}
	for i, step := range []struct {
		kind  schedule.Kind
		value string
		want  bool
	}{
		{value: `{"errors": ["a"]}`, want: true},
		{value: `{"errors": ["a"], "healthy": 1}`},
		{value: `{"errors": ["a", "b"]}`, want: true},
		{value: `{"healthy": 1}`},
		{value: `{"errors": ["a"]}`, want: true},
		{kind: schedule.Delete},
		{value: `{"errors": ["a"]}`, want: true},
	} {
		change := schedule.Change{Kind: step.kind, Key: key, Value: step.value, Reason: "what was observed changed"}
		e, ok := eventOf(change)
		if news := told.news(change, e); (ok && news) != step.want {
			t.Errorf("step %d: told %v", i, ok && news)
		}
	}
}

func TestEventsOfHosts(t *testing.T) {
	type hosts = map[string]schedule.Host
	alive := schedule.Host{}
	closed := schedule.Host{Host: state.Host{Condition: "full"}}
	missing, lost := schedule.Host{Liveness: schedule.Missing}, schedule.Host{Liveness: schedule.Lost}
	for name, looks := range map[string][]struct {
		hosts hosts
		want  []string
	}{
		"what was before is no event": {
			{hosts{"a": alive, "b": closed, "c": lost, "d": missing}, nil},
			{hosts{"a": alive, "b": closed, "c": lost, "d": missing}, nil},
			{hosts{"a": alive, "b": alive, "c": alive, "d": lost},
				[]string{"host open b: it takes new instances again", "host back c: ", "host lost d: its lease ended"}},
		},
		"a host joins": {
			{hosts{}, nil},
			{hosts{"a": lost}, nil}, // it is remembered already, and has no lease yet
			{hosts{"a": closed}, []string{"host joined a: full"}},
			{hosts{"a": alive}, []string{"host open a: it takes new instances again"}},
		},
		"a host is lost, and back": {
			{hosts{"a": alive}, nil},
			{hosts{"a": missing}, nil},
			{hosts{"a": lost}, []string{"host lost a: its lease ended"}},
			{hosts{"a": lost}, nil},
			{hosts{"a": alive}, []string{"host back a: "}},
		},
		"a host is missing for a moment": {
			{hosts{"a": closed}, nil},
			{hosts{"a": missing}, nil},
			{hosts{"a": closed}, nil},
			{hosts{"a": {Host: state.Host{Condition: "fuller"}}}, []string{"host closed a: fuller"}},
		},
		"the operator closes hosts": {
			{hosts{"a": alive, "b": alive}, nil},
			{hosts{"a": {Availability: state.Drained}, "b": {Availability: state.Cordoned}},
				[]string{"host closed a: it is drained", "host closed b: it is cordoned"}},
			{hosts{"a": alive, "b": {Availability: state.Drained}},
				[]string{"host open a: it takes new instances again", "host closed b: it is drained"}},
		},
		"a forgotten host joins again": {
			{hosts{"a": alive}, nil},
			{hosts{}, nil},
			{hosts{"a": alive}, []string{"host joined a: "}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var l hostLog
			for i, look := range looks {
				var got []string
				for _, e := range l.observe(look.hosts) {
					got = append(got, fmt.Sprintf("%s %s: %s", e.Kind, e.Host, e.Reason))
				}
				if !slices.Equal(got, look.want) {
					t.Errorf("look %d: %q, want %q", i, got, look.want)
				}
			}
		})
	}
}
