package agent

import (
	"context"
	"fmt"
	"strings"

	"github.com/dokkaa/dokkaa/conductor/engine"
)

// exitCodes are what codes mean that a shell or the kernel made.
var exitCodes = map[string]string{
	"126": "the command cannot be executed",
	"127": "the command was not found in the image",
	"137": "killed, by hand or for lack of memory",
	"139": "crashed, it used memory that is not its own",
	"143": "ended by SIGTERM, from outside",
}

const outOfMemory = "killed for lack of memory"

// exitReason turns Docker's "Exited (137) 2 seconds ago" into a reason that does not age.
func exitReason(c engine.Container) string {
	code := exitCode(c)
	if code == "" {
		return "exited"
	}
	return joinReasons("exited with code "+code, exitCodes[code])
}

// exitCode is the code as text, "" if Docker does not say it.
func exitCode(c engine.Container) string {
	rest, found := strings.CutPrefix(c.Detail, "Exited (")
	code, _, closed := strings.Cut(rest, ")")
	if !found || !closed {
		return ""
	}
	return code
}

// exitExplained is the reason with what Docker says when it is asked.
func exitExplained(c engine.Container, exit engine.Exit) string {
	reason := exitReason(c)
	if code := exitCode(c); exit.OutOfMemory && code != "" {
		reason = joinReasons("exited with code "+code, outOfMemory)
	}
	return joinReasons(reason, exit.LastLine)
}

func joinReasons(reason, detail string) string {
	if detail == "" {
		return reason
	}
	return fmt.Sprintf("%s: %s", reason, detail)
}

// explain finds out why containers ended. Until that is known, which is soon, nothing is done for
// their instances: after a restart the log would go on with something else.
func (a *Agent) explain(ctx context.Context, ended []engine.Container) {
	for _, c := range ended {
		if !a.occupy(c.Instance) {
			continue
		}
		a.work.Go(func() {
			ctx, cancel := outlive(ctx)
			defer cancel()
			reason := a.exitOf(ctx, c)
			a.mu.Lock()
			m := a.recall(c.Instance)
			m.busy = false
			if reason != "" {
				m.reason = reason
			}
			a.mu.Unlock()
			a.Hint()
		})
	}
}

// exitOf is why the container ended, "" if Docker does not say.
func (a *Agent) exitOf(ctx context.Context, c engine.Container) string {
	if a.exits.wait(ctx) != nil {
		return ""
	}
	defer a.exits.leave()
	exit, err := a.Engine.Exit(ctx, c.ID)
	if err != nil {
		a.Log.Debug("ask why a container ended", "container", c.Name, "instance", c.Instance, "err", err)
	}
	return exitExplained(c, exit)
}

// occupy makes an instance busy, unless it is.
func (a *Agent) occupy(instance string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.recall(instance)
	if m.busy {
		return false
	}
	m.busy = true
	return true
}
