package identity

import (
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
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/docker"
)

// cutEngine is an Engine behind a unix socket whose first stream of events breaks after so many bytes.
type cutEngine struct {
	cut     int  // bytes of the first stream; -1: not even an answer
	forgets bool // the events of before the cut, as one that was started anew

	mu      sync.Mutex
	more    sync.Cond // there is another event
	streams int
	at      int64 // the clock of the events
	events  []cutEvent
	owner   string // who has addr2
	links   int
	closed  bool
}

type cutEvent struct {
	at   int64
	text string
}

func startCutEngine(t *testing.T, cut int, forgets bool) (*cutEngine, *docker.Engine) {
	t.Helper()
	f := &cutEngine{cut: cut, forgets: forgets, at: 7e18}
	f.more.L = &f.mu
	path := filepath.Join(t.TempDir(), "docker.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/version", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"Version":"28.0","ApiVersion":"1.50","MinAPIVersion":"1.24"}`)
	})
	mux.HandleFunc("/v1.50/containers/json", f.list)
	mux.HandleFunc("/v1.50/events", f.follow)
	server := httptest.NewUnstartedServer(mux)
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(func() {
		f.mu.Lock()
		f.closed = true
		f.more.Broadcast()
		f.mu.Unlock()
		server.CloseClientConnections()
		server.Close()
	})
	engine, err := docker.New("unix://"+path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return f, engine
}

func (f *cutEngine) list(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.owner == "" {
		fmt.Fprint(w, "[]")
		return
	}
	fmt.Fprintf(w, `[{"Id":%q,"Names":["/%s"],"State":"running","Labels":{"dokkaa.cluster":"c"},"NetworkSettings":{"Networks":{"dokkaa":{"IPAddress":%q}}}}]`,
		f.owner, f.owner, addr2)
}

// follow streams events, the first time as far as the cut. Whoever comes again has those since then
// that are remembered.
func (f *cutEngine) follow(w http.ResponseWriter, r *http.Request) {
	since, _ := strconv.ParseFloat(r.URL.Query().Get("since"), 64) // 0 has all
	f.mu.Lock()
	defer f.mu.Unlock()
	f.streams++
	first, next, left := f.streams == 1, 0, f.cut
	if !first && f.forgets {
		next = len(f.events)
	}
	if first && left < 0 {
		panic(http.ErrAbortHandler)
	}
	flush := func() { _ = http.NewResponseController(w).Flush() } // who left is not answered
	flush()
	for !f.closed && r.Context().Err() == nil {
		for ; next < len(f.events); next++ {
			if e := f.events[next]; float64(e.at)/1e9 >= since-1 || first {
				text := e.text
				if first && left <= len(text) {
					_, _ = io.WriteString(w, text[:left])
					flush()
					panic(http.ErrAbortHandler)
				}
				left -= len(text)
				_, _ = io.WriteString(w, text)
			}
		}
		flush()
		f.more.Wait()
	}
}

// tell makes an event.
func (f *cutEngine) tell(kind, action, id string) {
	f.at += 1e9
	text, err := json.Marshal(map[string]any{"Type": kind, "Action": action, "timeNano": f.at,
		"Actor": map[string]any{"ID": id, "Attributes": map[string]string{"container": id, "name": "dokkaa"}}})
	if err != nil {
		panic(err) // such a map always is JSON
	}
	f.events = append(f.events, cutEvent{f.at, string(text) + "\n"})
	f.more.Broadcast()
}

func (f *cutEngine) start(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.links++
	f.tell("network", "connect", id)
	f.owner = id
	f.tell("container", "start", id)
}

func (f *cutEngine) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tell("container", "die", f.owner)
	f.tell("network", "disconnect", f.owner)
	f.owner = ""
}

func (f *cutEngine) newestLink() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.links
}

// TestAStreamThatIsCutAnywhereNeverGivesAnAddressToTheWrongOne: of three containers that have the
// same address one after the other, with the stream of events cut after each few bytes.
func TestAStreamThatIsCutAnywhereNeverGivesAnAddressToTheWrongOne(t *testing.T) {
	const longest = 1700 // more bytes than all events have
	for cut := -1; cut < longest; cut += 41 {
		for _, forgets := range []bool{false, true} {
			t.Run(fmt.Sprintf("cut at %d, forgets %v", cut, forgets), func(t *testing.T) {
				t.Parallel()
				f, engine := startCutEngine(t, cut, forgets)
				c := New(Settings{Engine: engine, Log: slog.New(slog.DiscardHandler), Failed: func() {}, Changed: func() {}})
				c.newestLink = f.newestLink
				ctx, cancel := context.WithCancel(context.Background())
				var group sync.WaitGroup
				group.Go(func() { c.Run(ctx) })
				defer group.Wait()
				defer cancel()
				for _, id := range []string{"a", "b", "c"} {
					f.start(id)
					expect(t, c, addr2, id)
					f.end()
					// What an end tells is here before Docker starts something else on the address.
					time.Sleep(20 * time.Millisecond)
				}
			})
		}
	}
}

// expect asks whose the address is until it is known. Nobody else is a right answer at any time.
func expect(t *testing.T, c *Callers, addr netip.Addr, want string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		who, err := c.Find(t.Context(), addr)
		switch {
		case err == nil && who.ID == want:
			return
		case err == nil:
			t.Fatalf("%s is %s's, want %s", addr, who.ID, want)
		case !errors.Is(err, ErrStranger) && !errors.Is(err, ErrUnknown):
			t.Fatal(err)
		}
	}
	t.Fatalf("%s is nobody's, want %s", addr, want)
}
