package dokkaacfg

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// applied is what becomes of a wish.
type applied struct {
	wish
	changes []fieldChange
	plan    []string // what the cluster will do, in words
	write   bool     // the manifest is not in force yet
	prev    uint64   // index of the key as it was read, 0 if there was none
}

// planApply compares a wish with what the cluster has.
func planApply(w wish, app *appKeys) applied {
	a := applied{wish: w}
	if app.manifest == nil {
		a.write = true
		a.changes = diffFields(nil, flatten(w.text))
		a.plan = []string{"new: " + instancesText(w.manifest)}
		return a
	}
	a.prev = app.manifest.Modified
	before := app.parsedManifest()
	if before == nil {
		a.write = true
		a.changes = diffFields(flatten([]byte(app.manifest.Value)), flatten(w.text))
		a.plan = []string{"takes the place of a manifest that is refused: " + instancesText(w.manifest)}
		return a
	}
	a.changes = diffManifests(before, w.manifest)
	if len(a.changes) > 0 {
		a.write = true
		a.plan = planChange(before, w.manifest, app.scale)
		return a
	}
	if why := app.stuck(); why != "" {
		a.write = true // it is not tried again otherwise
		a.plan = []string{"unchanged, but " + why + ": it is tried again"}
		return a
	}
	a.plan = []string{"unchanged"}
	return a
}

// stuck says why the manifest is not in force although it was accepted, "" if nothing is known
// against it.
func (a *appKeys) stuck() string {
	if n, known := a.wantedRevision(); known && a.revisions[n].Verdict == state.VerdictFailed {
		return fmt.Sprintf("revision %d failed", n)
	}
	if a.rollout != nil && a.rollout.Phase == state.RolloutPaused {
		return fmt.Sprintf("the update to revision %d is paused", a.rollout.To)
	}
	return ""
}

// planChange says what a changed manifest does to the containers that run.
func planChange(before, after *manifest.Manifest, override *state.Scale) (plan []string) {
	number := before.Scale
	if override != nil {
		number = override.Scale
	}
	switch {
	case before.Mode != after.Mode:
		return []string{fmt.Sprintf("mode %s instead of %s: %s", after.Mode, before.Mode, instancesText(after))}
	case after.Mode == manifest.JobMode && before.RevisionHash(manifest.Versions{}) != after.RevisionHash(manifest.Versions{}):
		return []string{"a new revision: " + instancesText(after)}
	case before.RevisionHash(manifest.Versions{}) != after.RevisionHash(manifest.Versions{}):
		plan = append(plan, replacesText(after, number))
	default:
		plan = append(plan, "restarts nothing")
	}
	if after.Mode != manifest.Replicated || before.Scale == after.Scale {
		return plan
	}
	if override != nil && override.Scale != before.Scale {
		plan = append(plan, fmt.Sprintf("the scale of %d that was set by hand goes", override.Scale))
	}
	switch more := after.Scale - number; {
	case more > 0:
		plan = append(plan, "starts "+plural(more, "more instance", "more instances"))
	case more < 0:
		plan = append(plan, "stops "+plural(-more, "instance", "instances")+" when its connections have ended")
	}
	return plan
}

// instancesText says what a manifest starts.
func instancesText(m *manifest.Manifest) string {
	switch {
	case m.Mode == manifest.Global:
		return "an instance on each suitable host"
	case m.Mode == manifest.JobMode && m.Schedule != "":
		return "runs by its schedule, " + m.Schedule
	case m.Mode == manifest.JobMode:
		return "runs once"
	}
	return plural(m.Scale, "instance", "instances")
}

// replacesText says how an update goes.
func replacesText(m *manifest.Manifest, number int) string {
	what := "all instances"
	if m.Mode == manifest.Replicated {
		what = plural(number, "instance", "instances")
	}
	text := fmt.Sprintf("a new revision: replaces %s, %d at a time, ", what, m.Update.MaxParallel)
	if m.StopFirst() {
		text += "each stopped before its successor starts"
	} else {
		text += "each stopped when its successor is healthy"
	}
	if m.Update.Canary > 0 {
		text += fmt.Sprintf("; after %s it waits for dokkaacfg promote", plural(m.Update.Canary, "canary", "canaries"))
	}
	switch m.Update.FailureAction {
	case manifest.FailureRollback:
		return text + "; goes back if that fails"
	case manifest.FailurePause:
		return text + "; stays as it is if that fails"
	}
	return text
}

// warnings are what a wish needs and is not there, as it looks: it may be on its way.
func warnings(w wish, all inventory, wishes []wish, values map[string]bool) (texts []string) {
	services := map[string]bool{}
	add := func(app string, m *manifest.Manifest) {
		if m != nil {
			for service := range m.Services {
				services[app+"/"+service] = true
			}
		}
	}
	for ref, app := range all.apps {
		add(ref.App, app.parsedManifest())
	}
	for _, other := range wishes {
		add(other.ref.App, other.manifest)
	}
	for _, link := range w.manifest.Links {
		to := link.To
		if !strings.Contains(to, "/") {
			to = w.ref.App + "/" + to
		}
		if !services[to] {
			texts = append(texts, fmt.Sprintf("%s links to %s, which no container offers yet", w.ref, to))
		}
	}
	for _, kind := range []valueKind{secrets, configs} {
		for name := range kind.of(w.manifest) {
			if of := w.ref.App + "/" + name; !values[kind.word+" "+of] {
				texts = append(texts, fmt.Sprintf("%s needs %s %s, which is not set: dokkaacfg %s set %s", w.ref, kind.word, of, kind.word, of))
			}
		}
	}
	slices.Sort(texts)
	return texts
}
