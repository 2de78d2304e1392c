package dokkaacfg

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

// text is the report for people.
func (r report) text(now time.Time) string {
	parts := []string{
		r.hostsText(),
		"scheduler: " + cmp.Or(r.Scheduler.Host, r.Scheduler.Reason) + "\n",
		r.containersText(now),
		r.instancesText(),
		r.problemsText(),
		r.troubleText(),
	}
	var text []string
	for _, part := range parts {
		if part != "" {
			text = append(text, part)
		}
	}
	return strings.Join(text, "\n")
}

func (r report) hostsText() string {
	var t table
	t.row("HOST", "STATE", "VERSION", "CONTAINERS", "LABELS", "WHY")
	for _, h := range r.Hosts {
		is, why := h.shown()
		t.row(h.IP, is, cmp.Or(h.Version, "-"), strconv.Itoa(h.Containers), listLabels(h.Labels), why)
	}
	return t.String()
}

func (r report) containersText(now time.Time) string {
	var t table
	t.row("CONTAINER", "STATE", "WANTED", "RUNNING", "HEALTHY", "REVISION", "WHY")
	for _, c := range r.Containers {
		t.row(c.Ref.String(), c.State, strconv.Itoa(c.Wanted), strconv.Itoa(c.Running), strconv.Itoa(c.Healthy), orDash(c.Revision),
			joinText(c.rollout(now), c.reason(), c.Run))
	}
	return cmp.Or(t.String(), "No containers: there is no manifest below "+state.AppsDir+".\n")
}

// rollout is how far an update is, "" if there is none; without a time, not for how long.
func (c containerReport) rollout(now time.Time) string {
	u := c.Rollout
	if u == nil {
		return ""
	}
	text := fmt.Sprintf("revision %d -> %d: %d of %d updated", u.From, u.To, u.Updated, c.Wanted)
	if u.Failures > 0 {
		text += ", " + plural(u.Failures, "failure", "failures")
	}
	if string(u.Phase) != c.State {
		text = string(u.Phase) + ", " + text
	}
	if !u.Since.IsZero() && !now.IsZero() {
		text += ", for " + now.Sub(u.Since).Round(time.Second).String()
	}
	text += strings.TrimSuffix(": "+u.Reason, ": ")
	switch u.Phase {
	case state.RolloutCanary:
		return text + " (dokkaacfg promote " + c.Ref.String() + ")"
	case state.RolloutPaused:
		return text + "; it goes on when the manifest is written again"
	}
	return text
}

// reason is that of the state, "" if the rollout says it.
func (c containerReport) reason() string {
	if c.Rollout != nil && c.Rollout.Reason == c.Reason {
		return ""
	}
	return c.Reason
}

// instancesText is where each instance is, with the last words of those that failed.
func (r report) instancesText() string {
	var t table
	t.row("INSTANCE", "HOST", "PHASE", "REVISION", "WHY")
	for _, c := range r.Containers {
		for _, slot := range c.Slots {
			t.row(fmt.Sprintf("%s %d", c.Ref, slot.Slot), cmp.Or(slot.Host, "-"), cmp.Or(string(slot.Phase), "-"), orDash(slot.Revision),
				joinText(slot.Reason, restarts(slot), prefixed("next: ", slot.Next)))
			if slot.Phase != state.PhaseHealthy {
				t.note(slot.Log)
			}
		}
		if c.More > 0 {
			t.row(fmt.Sprintf("%s: %d more", c.Ref, c.More), "", "", "", "not shown")
		}
	}
	return t.String()
}

// restarts is how often an instance was started again and, unless the reason says it, how it ended;
// "" if it never did.
func restarts(s state.SlotStatus) string {
	var text string
	if s.Restarts > 0 {
		text = plural(s.Restarts, "restart", "restarts")
	}
	if s.ExitCode != nil && !strings.Contains(s.Reason, " code ") {
		text = strings.TrimPrefix(text+", last exit code ", ", ") + strconv.Itoa(*s.ExitCode)
	}
	return text
}

// problemsText is what waits, and what cannot be done as it was written.
func (r report) problemsText() string {
	var text strings.Builder
	for _, c := range r.Containers {
		for _, waiting := range c.Waiting {
			count, why, _ := strings.Cut(waiting, ": ")
			if count == "1" {
				continue // it is with the instance
			}
			fmt.Fprintf(&text, "%s: %s not placed: %s\n", c.Ref, count, why)
		}
		for _, problem := range c.Errors {
			fmt.Fprintf(&text, "%s: its manifest is refused: %s\n", c.Ref, problem)
		}
	}
	return text.String()
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

func orDash(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}
