package dokkaacfg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/manifest"
)

type waitCommand struct {
	Of []string
	waitingFlags
}

// waitingFlags say whether and how long one waits for containers, and for what.
type waitingFlags struct {
	Detach  bool
	Canary  bool
	Timeout time.Duration
}

// add adds the flags of a command that changes containers.
func (f *waitingFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.Detach, "detach", false, "do not wait")
	f.addTimeout(cmd)
}

// addCanary adds that of a command that may begin an update.
func (f *waitingFlags) addCanary(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.Canary, "canary", false, "be content when the canaries are healthy and wait to be promoted")
}

func (f *waitingFlags) addTimeout(cmd *cobra.Command) {
	progressFlag(cmd)
	cmd.Flags().DurationVar(&f.Timeout, "timeout", defaultWait, "give up waiting after so long; 0 never")
}

func newWaitCommand(p *invocation) *cobra.Command {
	c := new(waitCommand)
	cmd := &cobra.Command{
		Use: "wait <app>/<name>...", Short: "Wait until containers are as their manifests want them, or cannot be",
		Example: "dokkaacfg wait dummy/nginx --timeout=2m && echo all instances are healthy",
		Args:    oneOrMore(&c.Of), ValidArgsFunction: p.completeContainers, RunE: p.run(c.Run),
	}
	c.addTimeout(cmd)
	c.addCanary(cmd)
	return cmd
}

// refusalPatience is how long an error in the status may be about the manifest before.
const refusalPatience = 3 * time.Second

// defaultWait is how long one waits for a container: an update takes its time.
const defaultWait = 15 * time.Minute

// Run waits until the containers are as the manifests want them that are there now, or never will
// be.
func (c *waitCommand) Run(ctx context.Context, s *session) error {
	return s.withApps(ctx, c.Of, func(ctx context.Context, keys clusterKeys, apps []foundApp) error {
		var refs []state.Ref
		for _, found := range apps {
			refs = append(refs, found.ref)
		}
		return c.wait(ctx, s, keys, refs)
	})
}

// wait waits for the containers, and tells how each of them is. One that will not come up does not
// end the wait for the others.
func (f waitingFlags) wait(ctx context.Context, s *session, keys clusterKeys, refs []state.Ref) error {
	if f.Detach {
		return nil
	}
	p := newProgress(s.out)
	var open []*waiting
	for _, ref := range refs {
		w := &waiting{ref: ref, canary: f.Canary, progress: p, step: p.step("", ref.String()), since: time.Now()}
		defer w.step.end(nil)
		open = append(open, w)
	}
	var failed []error
	err := follow(ctx, p, func(ctx context.Context) (bool, error) {
		for i := 0; i < len(open); {
			done, err := open[i].check(ctx, keys, f.Timeout)
			switch {
			case errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil:
				return false, err
			case err == nil && !done:
				i++
				continue
			case err != nil:
				failed = append(failed, err)
			}
			open[i].step.end(err)
			open = slices.Delete(open, i, i+1)
		}
		return len(open) == 0, nil
	})
	return errors.Join(append(failed, err)...)
}

// waiting is the wait for a container.
type waiting struct {
	ref      state.Ref
	canary   bool
	progress *progress
	step     *step
	since    time.Time
	told     string
}

// check reads how the container is now. When it fails it shows what the container said last.
func (w *waiting) check(ctx context.Context, keys clusterKeys, timeout time.Duration) (done bool, err error) {
	app, err := readApp(ctx, keys, w.ref)
	if err != nil {
		return false, err
	}
	if err := errors.Join(app.readFailed(ctx, keys), app.readNewest(ctx, keys, w.ref.App)); err != nil {
		return false, err
	}
	now := time.Now()
	done, err = w.look(app, now)
	if err == nil && !done && timeout > 0 && now.Sub(w.since) > timeout {
		err = fmt.Errorf("%s is not there after %s: %s", w.ref, timeout, w.told)
	}
	if err != nil {
		for _, line := range app.lastWords() {
			w.progress.quote(line)
		}
	}
	return done, err
}

// lastWords are the last lines of the log of an instance that ended badly.
func (a *appKeys) lastWords() []string {
	if a.status != nil {
		for _, slot := range a.status.Slots {
			if slot.Phase != state.PhaseHealthy && len(slot.Log) > 0 {
				return slot.Log
			}
		}
	}
	return nil
}

// look tells how the container is, and whether it is as it should be. The error says that it
// will not be.
func (w *waiting) look(app *appKeys, now time.Time) (done bool, err error) {
	if app.manifest == nil {
		return false, fmt.Errorf("the manifest of %s was removed meanwhile", w.ref)
	}
	revision, known := app.wantedRevision()
	w.tell(app)
	switch status := app.status; {
	case status == nil:
		return false, nil
	case len(status.Errors) > 0:
		if app.statusAt > app.manifest.Modified || now.Sub(w.since) > refusalPatience {
			return false, fmt.Errorf("the manifest of %s is refused:\n  %s", w.ref, strings.Join(status.Errors, "\n  "))
		}
		return false, nil
	case !known:
		return false, nil // the scheduler has not looked at the manifest yet
	case app.revisions[revision].Verdict == state.VerdictFailed:
		return false, fmt.Errorf("revision %d of %s failed: %s", revision, w.ref, cmp.Or(app.revisions[revision].Reason, status.Reason, "no reason is known"))
	case app.gaveUp(revision) != "":
		return false, fmt.Errorf("revision %d of %s does not come up: %s", revision, w.ref, app.gaveUp(revision))
	case app.rollout != nil:
		return w.rollout(app, revision)
	case app.isJob():
		return w.run(app, revision)
	}
	return app.settled(revision), nil
}

// maxFailed is of how many failed instances one wants to know more.
const maxFailed = 3

// readFailed reads what hosts say of instances that failed.
func (a *appKeys) readFailed(ctx context.Context, keys clusterKeys) error {
	if a.status == nil {
		return nil
	}
	for _, slot := range a.status.Slots {
		current := a.slots[slot.Slot].Current
		if slot.Phase != state.PhaseFailed || current == nil || len(a.failed) == maxFailed {
			continue
		}
		node, err := keys.Get(ctx, state.InstanceKey(current.Host, current.Instance))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		var observed state.Observed
		if err == nil {
			err = unmarshal(node, &observed)
		}
		if err != nil {
			return err
		}
		a.failed = append(a.failed, observed)
	}
	return nil
}

// gaveUp says why an instance of the revision will not come up, "" if none said so. While an update
// is under way, the scheduler judges what follows from it.
func (a *appKeys) gaveUp(revision int) string {
	for _, o := range a.failed {
		if o.GaveUp && o.Revision == revision && a.rollout == nil {
			return cmp.Or(o.Reason, "its host gave up")
		}
	}
	return ""
}

// readNewest reads which versions there are of the secrets and configs that the manifest names.
func (a *appKeys) readNewest(ctx context.Context, keys clusterKeys, app string) error {
	m := a.parsedManifest()
	if m == nil {
		return nil
	}
	for _, kind := range []valueKind{secrets, configs} {
		named := kind.of(m)
		if len(named) == 0 {
			continue
		}
		all, err := kind.list(ctx, keys, kind.dir+"/"+app)
		if err != nil {
			return err
		}
		for name, version := range named {
			if version == 0 {
				a.newest = append(a.newest, newestValue{kind, name, all[state.Ref{App: app, Name: name}].newest()})
			}
		}
	}
	return nil
}

// newestValue is the newest version of a secret or config.
type newestValue struct {
	kind    valueKind
	name    string
	version int
}

// wantedRevision is the newest one that came from the manifest as it is now, with the secrets and
// configs as they are now, and since the last restart that was asked for.
func (a *appKeys) wantedRevision() (n int, known bool) {
	for _, n := range slices.Backward(slices.Sorted(maps.Keys(a.revisions))) {
		if r := a.revisions[n]; r.Modified >= a.manifest.Modified {
			return n, r.Versions.Restart >= a.restart && !slices.ContainsFunc(a.newest, func(v newestValue) bool { return v.kind.versions(r.Versions)[v.name] < v.version })
		}
	}
	return 0, false
}

// settled tells whether all is there of a revision.
func (a *appKeys) settled(revision int) bool {
	s := a.status
	return s.Revision == revision && a.scaled() && s.Rollout == nil && s.Healthy >= s.Wanted && s.Running <= s.Wanted && len(s.Waiting) == 0 &&
		(s.State == "running" || s.State == "stopped")
}

// scaled tells whether the status is about the number of instances that is wanted now.
func (a *appKeys) scaled() bool {
	m := a.parsedManifest()
	switch {
	case m == nil || m.Mode != manifest.Replicated:
		return true
	case a.scale == nil:
		return a.status.Wanted == m.Scale
	}
	// For another manifest it is either made anew or removed in a moment.
	return a.scale.Modified == a.manifest.Modified && a.status.Wanted == a.scale.Scale
}

func (a *appKeys) isJob() bool {
	m := a.parsedManifest()
	return m != nil && m.Mode == manifest.JobMode
}

func (w *waiting) rollout(app *appKeys, revision int) (done bool, err error) {
	switch r := app.rollout; {
	case r.Phase == state.RolloutPaused && app.rolloutAt > app.manifest.Modified: // not because of the manifest before
		return false, fmt.Errorf("the update of %s to revision %d failed, it is paused: %s", w.ref, revision, r.Reason)
	case r.Phase == state.RolloutCanary:
		return w.canary, nil
	}
	return false, nil
}

// run waits for the end of the job's run, or, where it has a schedule, for nothing more.
func (w *waiting) run(app *appKeys, revision int) (done bool, err error) {
	if m := app.parsedManifest(); m.Schedule != "" {
		return app.status.Revision == revision, nil
	}
	run, there := app.runs[strconv.Itoa(revision)]
	switch {
	case !there, run.Phase == state.RunPending, run.Phase == state.RunRunning:
		return false, nil
	case run.Phase == state.RunCompleted:
		return true, nil
	}
	for _, line := range run.Log {
		w.progress.quote(line)
	}
	says := string(run.Phase)
	if run.ExitCode != nil {
		says += " with exit code " + strconv.Itoa(*run.ExitCode)
	}
	return false, errors.New(joinText(fmt.Sprintf("the run of %s: %s", w.ref, says), run.Reason))
}

// tell says what has changed.
func (w *waiting) tell(app *appKeys) {
	if app.status == nil {
		return
	}
	c := containerReport{Ref: w.ref, Status: *app.status}
	text := fmt.Sprintf("%s: %s", w.ref, c.State)
	if c.Run == "" {
		text += fmt.Sprintf(", %d of %d healthy", c.Healthy, c.Wanted)
	}
	if c.Revision > 0 {
		text += ", revision " + strconv.Itoa(c.Revision)
	}
	why := append([]string{c.rollout(time.Time{}), c.reason(), c.Run}, c.Waiting...)
	if len(c.Waiting) == 0 {
		why = append(why, c.firstTrouble())
	}
	if text = joinText(append([]string{text}, why...)...); text != w.told {
		w.told = text
		w.step.done("%s", text)
		w.step.doing("%s", strings.TrimPrefix(text, w.ref.String()+": "))
	}
}

// firstTrouble is what keeps one of the instances; what keeps the others is likely the same.
func (c containerReport) firstTrouble() string {
	for _, slot := range c.Slots {
		switch {
		case slot.Phase != state.PhaseHealthy && slot.Reason != "":
			return fmt.Sprintf("%d: %s", slot.Slot, slot.Reason)
		case strings.Contains(slot.Next, string(state.PhaseFailed)):
			return fmt.Sprintf("%d: next: %s", slot.Slot, slot.Next)
		}
	}
	return ""
}
