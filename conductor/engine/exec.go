package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
)

const (
	execAsk  = 2 * time.Second       // to ask how a command is whose own time is over
	execPoll = 50 * time.Millisecond // of a command that ends later than its output
)

// Exec is how a command is that was run in a container.
type Exec struct {
	ID      string
	Running bool   // it had not ended when its time was over
	Code    int    // that it ended with
	Output  string // last line of it
}

// Exec runs a command in a running container until it ends, or until ctx does: then it may go on
// to run, for Docker has no means to end it. If after names an earlier command that still runs,
// it starts none, and returns that one. An error says that Docker could not be asked, or would not
// run the command in this container as it is: nothing is known of it then but its ID, if it has one.
func (e *Engine) Exec(ctx context.Context, container string, command []string, after string) (Exec, error) {
	if after != "" {
		if before, err := e.askExec(ctx, after); err == nil && before.Running {
			return before, nil
		}
	}
	id, err := e.createExec(ctx, container, map[string]any{"Cmd": command, "AttachStdout": true, "AttachStderr": true})
	if err != nil {
		return Exec{}, err
	}
	resp, err := e.Docker.Do(ctx, http.MethodPost, "/exec/"+id+"/start", map[string]bool{"Detach": false, "Tty": false})
	if err != nil {
		return Exec{ID: id}, fmt.Errorf("start command: %w", err)
	}
	defer resp.Body.Close()
	var last tail
	_, err = stdcopy.StdCopy(&last, &last, resp.Body) // ends with the command
	if err != nil && ctx.Err() == nil {
		return Exec{ID: id}, fmt.Errorf("read the command's output: %w", err)
	}
	exec, err := e.awaitExec(ctx, id)
	exec.Output = readable(string(last.end))
	return exec, err
}

func (e *Engine) createExec(ctx context.Context, container string, ask map[string]any) (id string, err error) {
	resp, err := e.Docker.Do(ctx, http.MethodPost, "/containers/"+container+"/exec", ask)
	if err != nil {
		return "", fmt.Errorf("make command: %w", err)
	}
	defer resp.Body.Close()
	var made struct {
		ID string `json:"Id"`
	}
	err = json.NewDecoder(resp.Body).Decode(&made)
	if err == nil && made.ID == "" {
		err = errors.New("it has no id")
	}
	if err != nil {
		return "", fmt.Errorf("make command: %w", err)
	}
	return made.ID, nil
}

// awaitExec asks how a command ended until it did, or ctx has: then once more.
func (e *Engine) awaitExec(ctx context.Context, id string) (Exec, error) {
	for {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), execAsk)
		exec, err := e.askExec(late, id)
		cancel()
		if err != nil || !exec.Running || ctx.Err() != nil {
			return exec, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(execPoll):
		}
	}
}

func (e *Engine) askExec(ctx context.Context, id string) (Exec, error) {
	var is struct {
		Running  bool
		ExitCode *int
	}
	if err := e.Docker.Get(ctx, "/exec/"+id+"/json", nil, &is); err != nil {
		return Exec{ID: id}, fmt.Errorf("inspect command: %w", err)
	}
	exec := Exec{ID: id, Running: is.Running || is.ExitCode == nil}
	if is.ExitCode != nil {
		exec.Code = *is.ExitCode
	}
	return exec, nil
}
