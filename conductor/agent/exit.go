package agent

import (
	"context"
	"fmt"
	"strconv"
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
	return joinReasons(reason, exit.LastLine())
}

func joinReasons(reason, detail string) string {
	if detail == "" {
		return reason
	}
	return fmt.Sprintf("%s: %s", reason, detail)
}

// explain finds out how containers ended. Until that is known, which is soon, nothing is done for
// their instances: after a restart the log would go on with something else.
func (a *Agent) explain(ctx context.Context, ended []engine.Container) {
	for _, c := range ended {
		if !a.occupy(c.Instance) {
			continue
		}
		a.work.Go(func() {
			ctx, cancel := outlive(ctx)
			defer cancel()
			exit, err := a.exitOf(ctx, c)
			if err != nil {
				a.Log.Debug("ask how a container ended", "container", c.Name, "instance", c.Instance, "err", err)
			}
			a.mu.Lock()
			m := a.recall(c.Instance)
			m.busy, m.explaining = false, false
			m.log = exit.Log
			if m.reason != "" {
				m.reason = exitExplained(c, exit)
			}
			a.mu.Unlock()
			a.Hint()
		})
	}
}

// exitOf is what Docker says, when it is asked, about how the container ended.
func (a *Agent) exitOf(ctx context.Context, c engine.Container) (engine.Exit, error) {
	if err := a.exits.wait(ctx); err != nil {
		return engine.Exit{}, err
	}
	defer a.exits.leave()
	return a.Engine.Exit(ctx, c.ID)
}

// occupy makes an instance busy with being explained, unless it is busy.
func (a *Agent) occupy(instance string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.recall(instance)
	if m.busy {
		return false
	}
	m.busy, m.explaining = true, true
	return true
}

// exitStatus is the code as a number, nil if Docker does not say it.
func exitStatus(c engine.Container) *int {
	code, err := strconv.Atoi(exitCode(c))
	if err != nil {
		return nil
	}
	return &code
}
