package handover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const waitFor = 10 * time.Second

var posts atomic.Int32

// postName is one that no other test has.
func postName() string { return fmt.Sprintf("dokkaa-test-%d-%d", os.Getpid(), posts.Add(1)) }

// fakeServer has sockets, and says whether it serves.
type fakeServer struct {
	t *testing.T

	mu      sync.Mutex
	serving bool
	sockets map[Name]Socket
	wants   int // sockets that it opens itself if it was given none
	offers  int
}

func (f *fakeServer) Serve(_ context.Context, given []Socket) (taken []Name) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.serving = true
	for _, s := range given {
		f.sockets[s.Name] = s
		taken = append(taken, s.Name)
	}
	for len(f.sockets) < f.wants {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			f.t.Error(err)
			return taken
		}
		name := Name{TCP, listener.Addr().(*net.TCPAddr).AddrPort()}
		if f.sockets[name], err = Of(name, listener.(*net.TCPListener)); err != nil {
			f.t.Error(err)
		}
		listener.Close()
	}
	return taken
}

func (f *fakeServer) Offer() (sockets []Socket, release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.offers++
	for _, s := range f.sockets {
		copied, err := s.Copy()
		if err != nil {
			f.t.Error(err)
		}
		sockets = append(sockets, copied)
	}
	return sockets, func() {}
}

func (f *fakeServer) Rest(keep []Name) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.serving = false
	if len(keep) != len(f.sockets) {
		f.t.Errorf("the heir has %d sockets of %d", len(keep), len(f.sockets))
	}
}

func (f *fakeServer) is() (serving bool, sockets, offers int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.serving, len(f.sockets), f.offers
}

// process is a post with its server.
type process struct {
	*fakeServer
	*Post
	ready atomic.Bool
	end   func()
}

// start runs a post until the test ends, or end is called.
func start(t *testing.T, name string, sockets int) *process {
	t.Helper()
	p := newProcess(t, name, sockets)
	p.ready.Store(true)
	p.run(t)
	return p
}

func newProcess(t *testing.T, name string, sockets int) *process {
	p := &process{fakeServer: &fakeServer{t: t, sockets: make(map[Name]Socket), wants: sockets}}
	p.Post = New(Settings{Name: name, Server: p.fakeServer, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Ready: func() error {
		if !p.ready.Load() {
			return errors.New("not yet")
		}
		return nil
	}})
	return p
}

func (p *process) run(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx)
	}()
	p.end = sync.OnceFunc(func() {
		cancel()
		<-done
		for _, s := range p.sockets {
			s.Close()
		}
	})
	t.Cleanup(p.end)
}

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waitFor); !check(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func (p *process) wantServing(t *testing.T, want bool) {
	t.Helper()
	eventually(t, fmt.Sprintf("is serving: not %v", want), func() bool { is, _, _ := p.is(); return is == want })
}

// checkDescriptors fails the test if descriptors are left open at its end.
func checkDescriptors(t *testing.T) {
	t.Helper()
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := open()
	t.Cleanup(func() { eventually(t, "descriptors are left open", func() bool { return open() <= before }) })
}

func TestTheHeirHasAllSockets(t *testing.T) {
	for _, sockets := range []int{0, 1, maxSockets, 2*maxSockets + 1} {
		t.Run(fmt.Sprint(sockets), func(t *testing.T) {
			name := postName()
			start(t, name, 0).end() // what the poller of the runtime opens
			checkDescriptors(t)
			before := start(t, name, sockets)
			before.wantServing(t, true)
			after := start(t, name, 0)
			after.wantServing(t, true)
			before.wantServing(t, false)
			if _, has, _ := after.is(); has != sockets {
				t.Errorf("has %d sockets", has)
			}
			for _, s := range after.sockets {
				listener, err := s.Listener()
				if err != nil {
					t.Fatal(err)
				}
				listener.Close()
			}
		})
	}
}

func TestWhoWasRelievedGoesOnIfTheHeirEnds(t *testing.T) {
	name := postName()
	first := start(t, name, 3)
	first.wantServing(t, true)
	second := start(t, name, 0)
	first.wantServing(t, false)
	third := start(t, name, 0)
	second.wantServing(t, false)
	second.end()
	time.Sleep(100 * time.Millisecond)
	if is, _, _ := first.is(); is {
		t.Error("the first serves, though the third does")
	}
	third.end()
	first.wantServing(t, true)
	start(t, name, 0).wantServing(t, true)
	first.wantServing(t, false)
}

func TestAnHeirAsksOnceItIsReady(t *testing.T) {
	name := postName()
	before := start(t, name, 3)
	before.wantServing(t, true)
	after := newProcess(t, name, 0)
	after.run(t)
	time.Sleep(3 * look)
	if _, _, offers := before.is(); offers > 0 {
		t.Error("sockets were offered to one that is not ready")
	}
	t.Run("in time", func(t *testing.T) {
		time.AfterFunc(2*look, func() { after.ready.Store(true) })
		before.end() // waits for it
		if _, has, _ := after.is(); has != 3 {
			t.Errorf("has %d sockets", has)
		}
	})
}

func TestAnHeirThatIsNotReadyServesWhenNobodyElseDoes(t *testing.T) {
	name := postName()
	before := start(t, name, 3)
	before.wantServing(t, true)
	after := newProcess(t, name, 1)
	after.run(t)
	time.Sleep(2 * look)
	before.end()
	after.wantServing(t, true)
}

func TestOneOfManyHeirsTakesOver(t *testing.T) {
	name := postName()
	all := []*process{start(t, name, 3)}
	all[0].wantServing(t, true)
	for range 5 {
		all = append(all, start(t, name, 0))
	}
	serving := func() (n int) {
		for _, p := range all {
			if is, _, _ := p.is(); is {
				n++
			}
		}
		return n
	}
	taken := func() (n int) {
		for _, p := range all {
			if _, has, _ := p.is(); has == 3 {
				n++
			}
		}
		return n
	}
	eventually(t, "not all had their turn", func() bool { return taken() == len(all) && serving() == 1 })
}

func TestTurnsFollowEachOther(t *testing.T) {
	name := postName()
	before := start(t, name, 1)
	turn, err := before.Turn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	after := start(t, name, 0)
	<-turn.Done()
	if turn, err = after.Turn(t.Context()); err != nil {
		t.Fatal(err)
	}
	after.end()
	if turn.Err() != nil {
		t.Error("the turn ends with the process, but nobody else's has begun")
	}
	if _, err := before.Turn(t.Context()); err != nil {
		t.Error(err)
	}
}

func dialPost(t *testing.T, name string) *line {
	t.Helper()
	conn, err := net.DialUnix(network, nil, &net.UnixAddr{Name: "@" + name, Net: network})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &line{conn}
}

// Whatever is said to the holder, it serves until an heir does.
func TestAHolderSurvivesItsHeirs(t *testing.T) {
	ask := func(l *line) {
		if sockets, err := l.ask(); err == nil {
			closeAll(sockets)
		}
	}
	for name, speak := range map[string]func(*line){
		"nothing":     func(*line) {},
		"garbage":     func(l *line) { _, _ = l.Write([]byte("garbage")) },
		"too much":    func(l *line) { _, _ = l.Write(make([]byte, maxMessage+1)) },
		"empty":       func(l *line) { _, _ = l.Write(nil) },
		"out of turn": func(l *line) { _ = l.say(message{Say: sayServing}) },
		"descriptors": func(l *line) { _ = l.say(message{Say: sayAsk, Sockets: make([]Name, 2)}, Socket{fd: 0}, Socket{fd: 1}) },
		"asks only":   ask,
		"asks twice": func(l *line) {
			ask(l)
			_ = l.say(message{Say: sayAsk})
		},
		"asks and does not read": func(l *line) { _ = l.say(message{Say: sayAsk}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			post := postName()
			holder := start(t, post, maxSockets+1)
			holder.wantServing(t, true)
			for range 3 {
				l := dialPost(t, post)
				speak(l)
				l.Close()
			}
			speak(dialPost(t, post)) // and stays
			if is, _, _ := holder.is(); !is {
				t.Error("it does not serve any more")
			}
			start(t, post, 0)
			holder.wantServing(t, false)
		})
	}
}

// Whatever an holder says, its heir serves in the end.
func TestAnHeirSurvivesItsHolder(t *testing.T) {
	sockets := func(l *line) { _ = l.say(message{Say: saySockets}) }
	for name, answer := range map[string]func(*line){
		"nothing":       func(*line) {},
		"garbage":       func(l *line) { _, _ = l.Write([]byte("garbage")) },
		"no end":        func(l *line) { _ = l.say(message{Say: saySockets, More: true}) },
		"no sockets":    func(l *line) { _ = l.say(message{Say: saySockets, Sockets: make([]Name, 2)}, Socket{fd: 0}) },
		"no retirement": sockets,
		"hangs up":      func(l *line) { l.Close() },
		"hangs up late": func(l *line) {
			sockets(l)
			l.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			post := postName()
			place, err := net.ListenUnix(network, &net.UnixAddr{Name: "@" + post, Net: network})
			if err != nil {
				t.Fatal(err)
			}
			var group sync.WaitGroup
			group.Go(func() {
				for {
					conn, err := place.AcceptUnix()
					if err != nil {
						return
					}
					defer conn.Close()
					l := &line{conn}
					if _, _, err := l.hear(sayAsk); err == nil {
						answer(l)
					}
				}
			})
			heir := start(t, post, 1)
			eventually(t, "it does not serve", func() bool { is, _, _ := heir.is(); return is })
			place.Close()
			group.Wait()
			eventually(t, "it does not take the post", func() bool {
				conn, err := net.DialUnix(network, nil, &net.UnixAddr{Name: "@" + post, Net: network})
				if err == nil {
					conn.Close()
				}
				return err == nil
			})
			start(t, post, 0)
			heir.wantServing(t, false)
		})
	}
}

// asUser runs f in a thread of another user.
func asUser(uid int, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		keep := ^uintptr(0)
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, uintptr(uid), keep); errno != 0 {
			panic(errno)
		}
		f()
	}()
	<-done
}

func TestAForeignUserIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root")
	}
	post := postName()
	holder := start(t, post, 1)
	holder.wantServing(t, true)
	var sockets []Socket
	var err error
	asUser(65534, func() { sockets, err = dialPost(t, post).ask() })
	if err == nil || len(sockets) > 0 {
		t.Errorf("got %d sockets, %v", len(sockets), err)
	}
	if _, _, offers := holder.is(); offers > 0 {
		t.Error("sockets were offered")
	}
}

func TestAForeignHolderIsNotBelieved(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root")
	}
	post := postName()
	var place *net.UnixListener
	asUser(65534, func() {
		var err error
		if place, err = net.ListenUnix(network, &net.UnixAddr{Name: "@" + post, Net: network}); err != nil {
			t.Error(err)
		}
	})
	defer place.Close()
	started := time.Now()
	start(t, post, 1).wantServing(t, true)
	if took := time.Since(started); took > time.Second {
		t.Errorf("it serves after %s", took)
	}
}

func TestASocketIsWhatItIsCalled(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s, err := Of(Name{TCP, netip.MustParseAddrPort("127.0.0.1:1")}, listener.(*net.TCPListener))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Listener(); err == nil || !strings.Contains(err.Error(), listener.Addr().String()) {
		t.Errorf("got %v", err)
	}
}
