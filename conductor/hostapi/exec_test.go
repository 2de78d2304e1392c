package hostapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/stream"
)

// fakeCommands run commands that the test plays.
type fakeCommands struct {
	play   func(io *net.TCPConn) // what a command does; its end is the command's
	refuse error

	mu    sync.Mutex
	asked []engine.Command
	told  []string
	fails int // times that a command cannot be ended
}

func (f *fakeCommands) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, fmt.Sprintf(format, args...))
}

func (f *fakeCommands) noted() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.told)
}

func (f *fakeCommands) RunCommand(_ context.Context, container string, c engine.Command) (*engine.Running, error) {
	f.note("run %s in %s", strings.Join(c.Args, " "), container)
	f.mu.Lock()
	f.asked = append(f.asked, c)
	f.mu.Unlock()
	if f.refuse != nil {
		return nil, f.refuse
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	ours, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return nil, err
	}
	theirs, err := listener.Accept()
	if err != nil {
		return nil, err
	}
	go func() {
		defer theirs.Close()
		f.play(theirs.(*net.TCPConn))
	}()
	return &engine.Running{Hijacked: ours.(*net.TCPConn), ID: "e1", TTY: true}, nil
}

func (f *fakeCommands) ResizeCommand(_ context.Context, id string, rows, columns int) error {
	f.note("resize %s %dx%d", id, rows, columns)
	return nil
}

func (f *fakeCommands) CommandCode(ctx context.Context, _ string) (int, error) { return 7, ctx.Err() }

func (f *fakeCommands) SignalCommand(_ context.Context, _, _, signal string) error {
	f.note("signal %s", signal)
	return nil
}

func (f *fakeCommands) EndCommand(_ context.Context, container, mark string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails--; f.fails >= 0 {
		return errors.New("Docker does not answer")
	}
	known := slices.ContainsFunc(f.asked, func(c engine.Command) bool { return c.Mark == mark })
	f.told = append(f.told, fmt.Sprintf("end in %s, known: %t", container, known))
	return nil
}

func (f *fakeCommands) EndOtherCommands(_ context.Context, container, _ string) error {
	f.note("end others in %s", container)
	return nil
}

// served is an API behind a real server, as long as the test.
type served struct {
	*API
	url string
	end func() // of the conductor; it returns when that has ended
}

func serve(t *testing.T, e *fakeEngine) served {
	t.Helper()
	a := New(e, slog.New(slog.NewTextHandler(t.Output(), nil)))
	mux := http.NewServeMux()
	a.Routes(mux)
	server := httptest.NewServer(mux)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = a.Run(ctx) })
	end := func() { cancel(); running.Wait() }
	t.Cleanup(func() { end(); server.Close() })
	return served{a, server.URL, end}
}

// open asks for a stream, and returns it if the answer is one.
func open(t *testing.T, url, body string) (*stream.Conn, *http.Response) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", stream.Protocol)
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, resp
	}
	return stream.New(resp.Body.(io.ReadWriteCloser)), resp
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come: " + what)
		}
	}
}

func TestCommandIsCarried(t *testing.T) {
	commands := &fakeCommands{play: func(c *net.TCPConn) { _, _ = io.Copy(c, c) }}
	a := serve(t, &fakeEngine{fakeCommands: commands})
	conn, _ := open(t, a.url+"/v1/instances/i1/exec", `{"args": ["cat"], "env": ["A=b"], "user": "7", "working_dir": "/tmp", "stdin": true, "tty": true}`)
	if conn == nil {
		t.Fatal("there is no stream")
	}
	code := make(chan int, 1)
	var group sync.WaitGroup
	group.Go(func() {
		err := conn.Run(func(text []byte) {
			var word state.CommandWord
			if err := json.Unmarshal(text, &word); err != nil || word.Code == nil {
				t.Errorf("it says %s, %v", text, err)
				return
			}
			code <- *word.Code
		})
		if err != nil {
			t.Errorf("the stream ends with %v", err)
		}
	})
	for _, word := range []string{`{"size": {"rows": 24, "columns": 80}}`, `nonsense`, `{"signal": "INT"}`} {
		if err := conn.Tell([]byte(word)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the words", func() bool { return len(commands.noted()) == 4 })
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	group.Go(func() {
		if _, err := conn.Channel(0).Write(want); err != nil {
			t.Error(err)
		}
		if err := conn.Channel(0).CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	got, err := io.ReadAll(conn.Channel(1))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	if is := <-code; is != 7 {
		t.Errorf("exit code %d", is)
	}
	conn.Finish()
	group.Wait()
	a.end()
	if got := commands.noted(); !slices.Equal(got, []string{"end others in c1", "run cat in c1", "resize e1 24x80", "signal INT"}) {
		t.Errorf("told %q", got)
	}
	asked := commands.asked[0]
	if !slices.Equal(asked.Env, []string{"A=b"}) || asked.User != "7" || asked.WorkingDir != "/tmp" || !asked.TTY || !asked.Stdin || !strings.HasPrefix(asked.Mark, a.id+"/") {
		t.Errorf("asked for %+v", asked)
	}
}

// A command goes with its client, and with the conductor. It is tried again where it does not work.
func TestCommandEndsWithItsClient(t *testing.T) {
	for name, leave := range map[string]func(served, *stream.Conn){
		"the client is gone":  func(_ served, c *stream.Conn) { c.Close() },
		"the conductor ends":  func(a served, _ *stream.Conn) { a.end() },
		"the client says bye": func(_ served, c *stream.Conn) { c.Finish(); c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			over := make(chan struct{})
			commands := &fakeCommands{play: func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c); close(over) }}
			if name == "the client is gone" {
				commands.fails = 1
			}
			a := serve(t, &fakeEngine{fakeCommands: commands})
			conn, _ := open(t, a.url+"/v1/instances/i1/exec", `{"args": ["sleep"], "stdin": true}`)
			var group sync.WaitGroup
			group.Go(func() { _ = conn.Run(func([]byte) {}) })
			leave(a, conn)
			<-over
			eventually(t, "the end", func() bool { return slices.Contains(commands.noted(), "end in c1, known: true") })
			group.Wait()
			if name == "the conductor ends" {
				if _, resp := open(t, a.url+"/v1/instances/i1/exec", `{"args": ["sleep"]}`); resp.StatusCode != http.StatusServiceUnavailable {
					t.Errorf("after the end: %s", resp.Status)
				}
			}
		})
	}
}

func TestCommandsThatAreRefused(t *testing.T) {
	docker := func(status int, says string) *fakeCommands {
		return &fakeCommands{refuse: &dockerclient.Error{Status: status, Message: `{"message": "` + says + `"}`}}
	}
	for name, test := range map[string]struct {
		target, body string
		engine       *fakeEngine
		want         int
		says         string
	}{
		"no command":    {"i1/exec", "{}", &fakeEngine{}, 400, "a command"},
		"no JSON":       {"i1/exec", "ls", &fakeEngine{}, 400, "a command"},
		"no such":       {"i2/exec", `{"args": ["ls"]}`, &fakeEngine{}, 404, "no instance i2"},
		"does not run":  {"i1/exec", `{"args": ["ls"]}`, &fakeEngine{status: engine.StatusExited}, 409, "its container is exited"},
		"paused":        {"i1/exec", `{"args": ["ls"]}`, &fakeEngine{fakeCommands: docker(409, "it is paused")}, 409, "it is paused"},
		"Docker hangs":  {"i1/exec", `{"args": ["ls"]}`, &fakeEngine{fakeCommands: &fakeCommands{refuse: errors.New("no answer")}}, 503, "no answer"},
		"no port":       {"i1/forward?port=0", "", &fakeEngine{}, 400, "is no port"},
		"no address":    {"i1/forward?port=80", "", &fakeEngine{noAddr: true}, 409, "no address"},
		"nobody serves": {"i1/forward?port=1", "", &fakeEngine{}, 502, "instance i1 does not accept connections on port 1: connect: connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.engine.fakeCommands == nil {
				test.engine.fakeCommands = &fakeCommands{}
			}
			_, resp := open(t, serve(t, test.engine).url+"/v1/instances/"+test.target, test.body)
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != test.want || !strings.Contains(string(text), test.says) {
				t.Errorf("%s %s, %v; want %d %q", resp.Status, text, err, test.want, test.says)
			}
		})
	}
	a := serve(t, &fakeEngine{fakeCommands: &fakeCommands{}})
	resp, err := http.Post(a.url+"/v1/instances/i1/exec", "application/json", strings.NewReader(`{"args": ["ls"]}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("without an upgrade: %s", resp.Status)
	}
}

func TestForward(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				conn.Close()
			}()
		}
	}()
	a := serve(t, &fakeEngine{fakeCommands: &fakeCommands{}})
	url := fmt.Sprintf("%s/v1/instances/i1/forward?port=%d", a.url, netip.MustParseAddrPort(listener.Addr().String()).Port())
	for _, leave := range []func(*stream.Conn){(*stream.Conn).Finish, (*stream.Conn).Close} {
		conn, _ := open(t, url, "")
		var group sync.WaitGroup
		group.Go(func() { _ = conn.Run(func([]byte) {}) })
		if _, err := conn.Channel(0).Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if err := conn.Channel(0).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(conn.Channel(0)); string(text) != "hello" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
		leave(conn)
		group.Wait()
	}
	eventually(t, "the connections' end", func() bool { return len(a.forwards) == 0 })
}
