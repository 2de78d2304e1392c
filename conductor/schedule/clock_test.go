package schedule_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
)

// TestClockJumpChangesNoRollout: the scheduler changes in the middle of an update, and the next one's
// clock is an hour ahead, or behind. It goes on as if it were not.
func TestClockJumpChangesNoRollout(t *testing.T) {
	const deadlines = `"update": {"healthy_deadline": "1m", "progress_deadline": "2m"}`
	tests := map[string]struct {
		manifest string
		steps    int // before the jump
	}{
		"that has just begun":             {with("better", 4, deadlines), 1},
		"in its middle":                   {with("better", 4, deadlines), 4},
		"stop-first":                      {with("better", 4, `"update": {"order": "stop-first"}`), 3},
		"with canaries that wait":         {with("better", 4, `"update": {"canary": 1}`), 6},
		"that gets nowhere":               {with("sick", 4, deadlines), 3},
		"that is about to be rolled back": {with("bad", 4, deadlines), 1},
		"that is being rolled back":       {with("bad", 4, deadlines), 2},
		"that is paused":                  {with("bad", 4, `"update": {"failure_action": "pause"}`), 4},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			run := func(jump time.Duration) (changes []string, w *world) {
				w = newWorld(t, 3)
				w.put("x", "web", with("good", 4, deadlines))
				w.settle()
				w.put("x", "web", test.manifest)
				for range test.steps {
					w.schedule()
					w.work()
				}
				w.now = w.now.Add(jump)
				w.planner, w.told = schedule.NewPlanner(w.newID), nil // another scheduler
				for range 30 {
					for _, change := range w.schedule() {
						changes = append(changes, fmt.Sprintf("%s %s: %s", change.Kind, change.Key, change.Reason))
					}
					w.work()
				}
				return changes, w
			}
			want, _ := run(0)
			for _, jump := range []time.Duration{time.Hour, -time.Hour} {
				got, w := run(jump)
				if !slices.Equal(got, want) {
					t.Errorf("a jump by %v: %q\nwithout: %q", jump, got, want)
				}
				if name != "that gets nowhere" {
					continue
				}
				w.now = w.now.Add(119 * time.Second)
				w.settle()
				if r := w.revision("x", "web", 2); r.Verdict != "" {
					t.Errorf("a jump by %v: it failed before its time: %s", jump, r.Reason)
				}
				w.now = w.now.Add(2 * time.Second)
				w.settle()
				if r := w.revision("x", "web", 2); r.Verdict != state.VerdictFailed {
					t.Errorf("a jump by %v: it did not fail in time: %+v", jump, r)
				}
			}
		})
	}
}
