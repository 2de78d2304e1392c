package hostapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/docker"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/stream"
)

const (
	// maxCommands is how many commands people may have run on a host at a time.
	maxCommands = 32
	maxRequest  = 256 << 10 // bytes of what a command is asked for with
	maxWords    = 16        // of a client, that wait
	// partingPatience is how long a client may take to hang up that was told the exit code.
	partingPatience = 10 * time.Second
)

// Commands is what runs commands in containers, and ends them.
type Commands interface {
	RunCommand(ctx context.Context, container string, c engine.Command) (*engine.Running, error)
	ResizeCommand(ctx context.Context, id string, rows, columns int) error
	CommandCode(ctx context.Context, id string) (int, error)
	SignalCommand(ctx context.Context, container, mark, signal string) error
	EndCommand(ctx context.Context, container, mark string) error
	EndOtherCommands(ctx context.Context, container, begin string) error
}

// exec runs a command in an instance, for as long as its client is there.
func (a *API) exec(w http.ResponseWriter, r *http.Request) {
	var asked state.Command
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&asked); err != nil || len(asked.Args) == 0 {
		http.Error(w, "the body of the request is a command: {\"args\": [...]}", http.StatusBadRequest)
		return
	}
	c, ok := a.findRunning(w, r)
	if !ok || !upgrades(w, r) {
		return
	}
	mark := a.newMark()
	running, err := a.engine.RunCommand(r.Context(), c.ID, engine.Command{Args: asked.Args, Env: asked.Env, User: asked.User,
		WorkingDir: asked.WorkingDir, TTY: asked.TTY, Stdin: asked.Stdin, Mark: mark})
	if err != nil {
		a.endCommand(c.ID, mark) // it may have been started all the same
		http.Error(w, docker.Words(err), statusOf(err))
		return
	}
	log := a.log.With("app", c.App, "container", c.Ref.Name, "slot", c.Slot, "instance", c.Instance, "for", whoAsks(r))
	log.Info("a command is run in an instance")
	session := &execSession{api: a, container: c.ID, mark: mark, running: running, words: make(chan state.CommandWord, maxWords)}
	if session.conn, err = upgrade(w); err == nil {
		err = session.run(asked.Stdin)
	} else {
		running.Close()
	}
	if err != nil {
		log.Info("a command is ended with its client", "err", err)
		a.endCommand(c.ID, mark)
		return
	}
	log.Info("a command ended")
}

func statusOf(err error) int {
	switch {
	case docker.IsConflict(err): // it does not run, or is paused
		return http.StatusConflict
	case docker.IsNotFound(err):
		return http.StatusNotFound
	}
	return http.StatusServiceUnavailable
}

// execSession is a command that runs, and its client.
type execSession struct {
	api       *API
	conn      *stream.Conn
	container string
	mark      string
	running   *engine.Running
	words     chan state.CommandWord // of the client
}

// run blocks until the command has ended and its client has hung up, and returns why it did not get
// so far: the client is gone, or the conductor ends.
func (s *execSession) run(stdin bool) error {
	ctx, cancel := context.WithCancel(s.api.life)
	defer cancel()
	defer context.AfterFunc(ctx, s.conn.Close)()
	var group sync.WaitGroup
	var ended bool
	group.Go(func() {
		code, err := s.output(ctx)
		ended = err == nil
		s.tell(code, err)
		// The other side hangs up when it knows.
		select {
		case <-ctx.Done():
		case <-time.After(partingPatience):
			s.conn.Close()
		}
	})
	if stdin {
		group.Go(s.input)
	}
	group.Go(func() { s.obey(ctx) })
	err := s.conn.Run(s.hear)
	cancel()
	s.running.Close()
	group.Wait()
	if ended {
		return nil
	}
	return err
}

// input hands on what the client sends.
func (s *execSession) input() {
	_, _ = io.Copy(s.running, s.conn.Channel(0)) // either side may end it
	_ = s.running.CloseWrite()                   // to one that has ended there is nothing to say
}

// output hands on what the command writes, and returns its exit code.
func (s *execSession) output(ctx context.Context) (code int, err error) {
	stdout, stderr := s.conn.Channel(1), s.conn.Channel(2)
	broken := s.running.Output(stdout, stderr)
	code, err = s.api.engine.CommandCode(ctx, s.running.ID)
	return code, errors.Join(broken, err, stdout.CloseWrite(), stderr.CloseWrite())
}

// tell has the client know how the command ended, as the last that it hears. One that is gone need not.
func (s *execSession) tell(code int, err error) {
	word := state.CommandWord{Code: &code}
	if err != nil {
		word = state.CommandWord{Error: err.Error()}
	}
	if text, err := json.Marshal(word); err == nil {
		_ = s.conn.Tell(text)
	}
	s.conn.Finish()
}

// hear takes in what the client says. It drops what comes faster than it can be done.
func (s *execSession) hear(message []byte) {
	var word state.CommandWord
	if json.Unmarshal(message, &word) != nil {
		return
	}
	select {
	case s.words <- word:
	default:
	}
}

// obey does what the client says until ctx ends.
func (s *execSession) obey(ctx context.Context) {
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case word := <-s.words:
			switch {
			case word.Size != nil:
				err = s.api.engine.ResizeCommand(ctx, s.running.ID, word.Size.Rows, word.Size.Columns)
			case word.Signal != "":
				err = s.api.engine.SignalCommand(ctx, s.container, s.mark, word.Signal)
			}
		}
		if err != nil && ctx.Err() == nil {
			s.api.log.Debug("a command was not told what its client says", "err", err)
		}
	}
}

// whoAsks is the client as the gateway says.
func whoAsks(r *http.Request) string {
	return cmp.Or(r.Header.Get("Dokkaa-Asked-By"), r.RemoteAddr)
}
