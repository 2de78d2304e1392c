package engine

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/moby/moby/api/pkg/stdcopy"

	"github.com/dokkaa/dokkaa/conductor/ending"
	"github.com/dokkaa/dokkaa/internal/docker"
)

// Command is a command that somebody has run in a container, beside what that runs.
type Command struct {
	Args       []string
	Env        []string
	User       string
	WorkingDir string
	TTY        bool
	Stdin      bool
	Mark       string // its processes are known by it
}

// Running is a command that runs, with its input and output.
type Running struct {
	docker.Hijacked
	ID  string
	TTY bool
}

// noKeys have Docker leave the command alone. They would be read from its input otherwise, and it
// does so by default: this is what nobody types.
const noKeys = "ctrl-^,ctrl-_,ctrl-^,ctrl-_,ctrl-^,ctrl-_"

// RunCommand starts a command in a running container. Who closes what it returns does not end the
// command with that: EndCommand does. What Docker does not find in the image is told by the output
// and the exit code, 126 or 127.
func (e *Engine) RunCommand(ctx context.Context, container string, c Command) (*Running, error) {
	ctx, cancel := context.WithTimeout(ctx, quickTimeout)
	defer cancel()
	id, err := e.createExec(ctx, container, c.request())
	if err != nil {
		return nil, err
	}
	conn, err := e.Docker.Hijack(ctx, "/exec/"+id+"/start", map[string]bool{"Detach": false, "Tty": c.TTY})
	if err != nil {
		return nil, fmt.Errorf("start command: %w", err)
	}
	return &Running{Hijacked: conn, ID: id, TTY: c.TTY}, nil
}

// request is what Docker is asked for. The mark comes last: of two variables of one name Docker takes the
// later, and a command with another mark would outlive its client.
func (c Command) request() map[string]any {
	return map[string]any{
		"Cmd": c.Args, "Env": append(slices.Clone(c.Env), ending.Variable+"="+c.Mark), "User": c.User, "WorkingDir": c.WorkingDir,
		"Tty": c.TTY, "AttachStdin": c.Stdin, "AttachStdout": true, "AttachStderr": true, "DetachKeys": noKeys,
	}
}

// Output copies what the command writes until that ends, or the connection is closed. With a terminal
// all of it goes to stdout.
func (r *Running) Output(stdout, stderr io.Writer) error {
	var err error
	if r.TTY {
		_, err = io.Copy(stdout, r)
	} else {
		_, err = stdcopy.StdCopy(stdout, stderr, r)
	}
	return err
}

// ResizeCommand tells the command's terminal its size.
func (e *Engine) ResizeCommand(ctx context.Context, id string, rows, columns int) error {
	ctx, cancel := context.WithTimeout(ctx, quickTimeout)
	defer cancel()
	query := url.Values{"h": {strconv.Itoa(rows)}, "w": {strconv.Itoa(columns)}}
	resp, err := e.Docker.Do(ctx, http.MethodPost, "/exec/"+id+"/resize?"+query.Encode(), nil)
	if err != nil {
		return fmt.Errorf("resize terminal: %w", err)
	}
	return resp.Body.Close()
}

// CommandCode waits until the command has ended, and returns its exit code.
func (e *Engine) CommandCode(ctx context.Context, id string) (int, error) {
	exec, err := e.awaitExec(ctx, id)
	if err == nil && exec.Running {
		err = fmt.Errorf("the command has not ended: %w", ctx.Err())
	}
	return exec.Code, err
}

// EndCommand ends the command with the mark, and all that it started, and blocks until they are gone.
// One that has ended already is no error.
func (e *Engine) EndCommand(ctx context.Context, container, mark string) error {
	return e.endCommands(ctx, container, "--end-exec="+mark)
}

// SignalCommand sends a signal, "INT" or the like, to the command and all that it started.
func (e *Engine) SignalCommand(ctx context.Context, container, mark, signal string) error {
	return e.endCommands(ctx, container, "--end-exec="+mark, "--end-signal="+signal)
}

// EndOtherCommands ends the commands in a container whose marks do not begin so: those of a process
// that is no more.
func (e *Engine) EndOtherCommands(ctx context.Context, container, begin string) error {
	is, err := e.inspectRuns(ctx, container)
	if err != nil || !is.State.Running || len(is.ExecIDs) == 0 {
		return err
	}
	return e.endCommands(ctx, container, "--end-exec=!"+begin)
}

func (e *Engine) endCommands(ctx context.Context, container string, args ...string) error {
	err := e.runInside(ctx, container, args)
	if err == nil {
		return nil
	}
	if is, unknown := e.inspectRuns(context.WithoutCancel(ctx), container); unknown == nil && !is.State.Running {
		return nil // its processes are gone with it
	}
	return fmt.Errorf("end command: %w", err)
}

// runs is what runs in a container.
type runs struct {
	State   struct{ Running bool }
	ExecIDs []string // commands beside its own
}

// inspectRuns asks what runs in a container: nothing in one that is gone.
func (e *Engine) inspectRuns(ctx context.Context, container string) (is runs, err error) {
	ctx, cancel := context.WithTimeout(ctx, quickTimeout)
	defer cancel()
	err = e.Docker.Get(ctx, "/containers/"+url.PathEscape(container)+"/json", nil, &is)
	if err != nil && !docker.IsNotFound(err) {
		return is, fmt.Errorf("inspect container: %w", err)
	}
	return is, nil
}
