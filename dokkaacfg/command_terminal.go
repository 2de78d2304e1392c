package dokkaacfg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/stream"
)

// commandTerminal is this end of a command that a host runs.
type commandTerminal struct {
	conn        *stream.Conn
	in          io.Reader
	out, errOut io.Writer
	stdin, tty  bool
}

// run carries input and output until the command has ended, and returns its exit code. When ctx ends,
// so does the command.
func (t *commandTerminal) run(ctx context.Context) (code int, err error) {
	defer t.conn.Close()
	restore, err := t.raw()
	if err != nil {
		return 0, err
	}
	defer restore()
	words, broken := make(chan state.CommandWord, 1), make(chan error, 1)
	var group sync.WaitGroup
	defer group.Wait()
	defer t.conn.Close()
	group.Go(func() {
		broken <- t.conn.Run(func(text []byte) {
			var word state.CommandWord
			if json.Unmarshal(text, &word) == nil && (word.Code != nil || word.Error != "") {
				select {
				case words <- word:
				default: // it ended already
				}
			}
		})
	})
	over := make(chan struct{})
	defer close(over)
	group.Go(func() { t.follow(ctx, over) })
	if t.stdin {
		// It ends with its input, or with this process: nobody can call a read from a terminal off.
		go t.input()
	}
	if err := t.output(); err != nil {
		return 0, err
	}
	select {
	case word := <-words:
		t.conn.Finish()
		select { // the host has to read that
		case <-broken:
		case <-time.After(partingPatience):
		}
		return outcome(word)
	case err := <-broken:
		select {
		case word := <-words: // it was the last that came
			return outcome(word)
		default:
			return 0, fmt.Errorf("the connection to the command broke off: %w", err)
		}
	}
}

func outcome(word state.CommandWord) (int, error) {
	if word.Code == nil {
		return 0, errors.New("how the command ended is not known: " + word.Error)
	}
	return *word.Code, nil
}

func (t *commandTerminal) input() {
	_, _ = io.Copy(t.conn.Channel(0), t.in) // either side may end it
	_ = t.conn.Channel(0).CloseWrite()      // one that is gone knows
}

// output shows what the command writes until that ends. If it cannot, nobody wants the rest.
func (t *commandTerminal) output() error {
	var both sync.WaitGroup
	var errs [2]error
	for n, to := range []io.Writer{t.out, t.errOut} {
		both.Go(func() {
			if _, errs[n] = io.Copy(to, t.conn.Channel(n+1)); errs[n] != nil {
				t.conn.Close()
			}
		})
	}
	both.Wait()
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("the command's output breaks off: %w", err)
		}
	}
	return nil
}

// raw has the terminal hand on each key as it is pressed, until restore is called.
func (t *commandTerminal) raw() (restore func(), err error) {
	file, ok := t.in.(*os.File)
	if !t.tty || !t.stdin || !ok {
		return func() {}, nil
	}
	before, err := term.MakeRaw(int(file.Fd()))
	if err != nil {
		return nil, fmt.Errorf("prepare terminal: %w", err)
	}
	return func() {
		_ = term.Restore(int(file.Fd()), before) // it may be gone
	}, nil
}

// follow tells the command of the terminal's size and of signals, until over is closed. The first
// signal is the command's; another one, or the end of ctx without one, ends it.
func (t *commandTerminal) follow(ctx context.Context, over <-chan struct{}) {
	sizes, signals := make(chan os.Signal, 1), make(chan os.Signal, 2)
	if t.tty {
		signal.Notify(sizes, syscall.SIGWINCH)
		defer signal.Stop(sizes)
		t.tellSize()
	}
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)
	done, told := ctx.Done(), false
	for {
		select {
		case <-over:
			return
		case <-sizes:
			t.tellSize()
		case s := <-signals:
			if told || !t.tellSignal(s) {
				t.conn.Close()
				return
			}
			told, done = true, nil
		case <-done:
			done = nil
			select {
			case s := <-signals: // which is why
				signals <- s
			case <-over:
			case <-time.After(signalPatience):
				t.conn.Close()
			}
		}
	}
}

// partingPatience is for the host to hang up.
const partingPatience = 2 * time.Second

// signalPatience is for a signal that ended the context, and is told here too.
const signalPatience = 200 * time.Millisecond

func (t *commandTerminal) tellSize() {
	for _, end := range []any{t.in, t.out} {
		file, ok := end.(*os.File)
		if !ok {
			continue
		}
		if columns, rows, err := term.GetSize(int(file.Fd())); err == nil {
			t.tell(state.CommandWord{Size: &state.TerminalSize{Rows: rows, Columns: columns}})
			return
		}
	}
}

func (t *commandTerminal) tellSignal(s os.Signal) bool {
	number, ok := s.(syscall.Signal)
	return ok && t.tell(state.CommandWord{Signal: strings.TrimPrefix(unix.SignalName(number), "SIG")})
}

func (t *commandTerminal) tell(word state.CommandWord) bool {
	text, err := json.Marshal(word)
	return err == nil && t.conn.Tell(text) == nil
}
