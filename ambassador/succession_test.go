package ambassador

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/dokkaa/dokkaa/internal/daemon"
)

// successionVariable describes an ambassador that is a process of its own: its port, name server and
// name of the post.
const successionVariable = "AMBASSADOR_TEST_PROCESS"

// successionCaller is whom that ambassador knows.
const successionCaller = "127.0.0.2"

// TestSuccessionProcess is that process. It says on its output when it serves.
func TestSuccessionProcess(t *testing.T) {
	described := strings.Fields(os.Getenv(successionVariable))
	if len(described) != 3 {
		return // called by nobody
	}
	port, err := strconv.Atoi(described[0])
	if err != nil {
		t.Fatal(err)
	}
	engine := &fakeEngine{}
	engine.start("crawler", successionCaller, map[int]string{port: "web.shop.skydns.local"})
	a := newAmbassador(Settings{ListenAddr: "127.0.0.1", PortRange: PortRange{port, port}, DNSAddr: described[1], Handover: described[2],
		MaxConnections: 300, MaxConnectionsPerContainer: 300, MaxFlows: 300, MaxFlowsPerContainer: 300, UDPTimeout: time.Minute, DrainTimeout: 5 * time.Second, Relay: os.Getenv(relayVariable)},
		daemon.Env{Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Metrics: prometheus.NewRegistry()}, engine)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		for {
			if _, err := a.Turn(ctx); err != nil {
				return
			}
			for a.Ready() != nil || len(a.Addrs()) == 0 { // the first of all has to list the containers
				time.Sleep(time.Millisecond)
			}
			fmt.Println("turn")
		}
	}()
	if err := a.Run(ctx); err != nil {
		t.Error(err)
	}
}

// succession is a port that one ambassador after the other looks after.
type succession struct {
	t         *testing.T
	port      int
	described string
}

func newSuccession(t *testing.T) *succession {
	dns := startDNS(t)
	dns.set("web.shop.skydns.local", startBackend(t, "127.0.0.1:0", sayAgain))
	datagrams, _ := sayUDP(t, "a")
	dns.set(udpName, datagrams)
	port := sharedPort(t)
	s := &succession{t: t, port: port}
	s.described = fmt.Sprintf("%d %s dokkaa-test-%d-%d", port, dns.addr, os.Getpid(), port)
	return s
}

// sharedPort is a port that nobody else gets but who shares it: bound, but not listening.
func sharedPort(t *testing.T) int {
	t.Helper()
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(socket) })
	if err := unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(socket, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	addr, err := unix.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	return addr.(*unix.SockaddrInet4).Port
}

// member is an ambassador of the succession.
type member struct {
	t       *testing.T
	command *exec.Cmd
	turns   chan struct{}
	ended   chan struct{}
	err     error // valid once ended is closed
}

func (s *succession) start() *member {
	s.t.Helper()
	m := &member{t: s.t, command: exec.Command(os.Args[0], "-test.run=^TestSuccessionProcess$"), turns: make(chan struct{}, 10), ended: make(chan struct{})}
	m.command.Env = append(os.Environ(), successionVariable+"="+s.described)
	m.command.Stderr = s.t.Output()
	output, err := m.command.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := m.command.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		defer close(m.ended)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			if lines.Text() == "turn" {
				m.turns <- struct{}{}
			}
		}
		m.err = m.command.Wait()
	}()
	s.t.Cleanup(func() {
		m.signal(syscall.SIGKILL)
		<-m.ended
	})
	return m
}

func (m *member) signal(sig syscall.Signal) { _ = m.command.Process.Signal(sig) } // it may have ended

// wantTurn waits until it serves.
func (m *member) wantTurn() {
	m.t.Helper()
	select {
	case <-m.turns:
	case <-m.ended:
		m.t.Fatal("the process has ended:", m.err)
	case <-time.After(2 * waitFor):
		m.t.Fatal("it does not serve")
	}
}

// wantEnd ends it in order.
func (m *member) wantEnd() {
	m.t.Helper()
	m.signal(syscall.SIGTERM)
	select {
	case <-m.ended:
		if m.err != nil {
			m.t.Error(m.err)
		}
	case <-time.After(waitFor):
		m.t.Error("it does not end")
	}
}

func (s *succession) dial() (*net.TCPConn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(successionCaller)}, Timeout: waitFor}
	conn, err := dialer.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// sayAgain is a backend that sends back each byte. After a "." it ends the connection: the side that
// does has to do without its port for a minute.
func sayAgain(conn *net.TCPConn) {
	b := make([]byte, 1)
	for b[0] != '.' {
		if _, err := io.ReadFull(conn, b); err != nil {
			return
		}
		if _, err := conn.Write(b); err != nil {
			return
		}
	}
}

// speak says something, and wants it back.
func speak(conn *net.TCPConn, what string) error {
	if err := conn.SetDeadline(time.Now().Add(waitFor)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, what); err != nil {
		return err
	}
	b := make([]byte, len(what))
	if _, err := io.ReadFull(conn, b); err != nil {
		return err
	}
	if string(b) != what {
		return fmt.Errorf("got %q for %q", b, what)
	}
	return nil
}

// crawl connects again and again until it is ended.
type crawl struct {
	served atomic.Int64
	mu     sync.Mutex
	errs   []error
	end    func()
}

const crawlers = 8

func (s *succession) crawl() *crawl {
	c := &crawl{}
	stop := make(chan struct{})
	var group sync.WaitGroup
	for range crawlers {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := s.once(); err != nil {
					c.mu.Lock()
					c.errs = append(c.errs, err)
					c.mu.Unlock()
					continue
				}
				c.served.Add(1)
			}
		})
	}
	c.end = sync.OnceFunc(func() {
		close(stop)
		group.Wait()
	})
	s.t.Cleanup(c.end)
	return c
}

// datagrams sends some again and again, until it is ended. Each is to have its answer.
func (s *succession) datagrams() (end func()) {
	s.t.Helper()
	conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(successionCaller)}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: s.port})
	if err != nil {
		s.t.Fatal(err)
	}
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		defer conn.Close()
		buffer := make([]byte, 100)
		for i := 0; ; i++ {
			select {
			case <-stop:
				s.t.Logf("%d datagrams answered", i)
				return
			case <-time.After(time.Millisecond):
			}
			_ = conn.SetDeadline(time.Now().Add(2 * time.Second)) // it is open
			text := fmt.Sprint("datagram ", i)
			if _, err := conn.Write([]byte(text)); err != nil {
				s.t.Errorf("%s: %v", text, err)
				continue
			}
			if n, err := conn.Read(buffer); err != nil || string(buffer[:n]) != "a "+text {
				s.t.Errorf("%s: got %q, %v", text, buffer[:n], err)
			}
		}
	})
	end = sync.OnceFunc(func() {
		close(stop)
		group.Wait()
	})
	s.t.Cleanup(end)
	return end
}

func (s *succession) once() error {
	conn, err := s.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := speak(conn, "."); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, conn)
	return err
}

// more waits until so many connections more were served.
func (c *crawl) more(t *testing.T, n int64) {
	t.Helper()
	from := c.served.Load()
	eventually(t, func() error {
		if now := c.served.Load(); now < from+n {
			return fmt.Errorf("%d connections served", now-from)
		}
		return nil
	})
}

// failed are the errors so far.
func (c *crawl) failed() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.errs
}

// networkVariable says that the process has a network of its own.
const networkVariable = "AMBASSADOR_TEST_NETWORK"

// TestSuccession runs in a network of its own: what other tests leave of their connections would
// be short of ports for this many.
func TestSuccession(t *testing.T) {
	if os.Getenv(networkVariable) != "" {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Run("replaced", replacedWithoutALoss)
		t.Run("broken down", stoodInForByTheOneBefore)
		t.Run("hanging", hangingAndReplaced)
		return
	}
	t.Parallel() // it waits for timeouts more than it works
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSuccession$", "-test.v")
	command.Env = append(os.Environ(), networkVariable+"=own")
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := command.CombinedOutput()
	if err != nil {
		t.Errorf("%v (it needs root)\n%s", err, out)
	}
	if testing.Verbose() {
		t.Logf("%s", out)
	}
}

func replacedWithoutALoss(t *testing.T) {
	s := newSuccession(t)
	first := s.start()
	first.wantTurn()
	long, err := s.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer long.Close()
	if err := speak(long, "x"); err != nil {
		t.Fatal(err)
	}
	crawl := s.crawl()
	crawl.more(t, 300)
	datagrams := s.datagrams()
	before := first
	for range 5 {
		next := s.start()
		next.wantTurn()
		crawl.more(t, 300)
		if before != first {
			before.wantEnd()
		}
		crawl.more(t, 300)
		before = next
	}
	if err := speak(long, "x"); err != nil {
		t.Errorf("a connection of the first ambassador: %v", err)
	}
	first.signal(syscall.SIGTERM)
	time.Sleep(100 * time.Millisecond)
	if err := speak(long, "x"); err != nil {
		t.Errorf("a connection of the first ambassador, which ends: %v", err)
	}
	long.Close()
	first.wantEnd()
	datagrams()
	crawl.end()
	if errs := crawl.failed(); len(errs) > 0 {
		t.Errorf("%d connections of %d failed: %v", len(errs), crawl.served.Load(), errors.Join(errs[:min(len(errs), 5)]...))
	}
	t.Logf("%d connections served", crawl.served.Load())
}

func stoodInForByTheOneBefore(t *testing.T) {
	s := newSuccession(t)
	first := s.start()
	first.wantTurn()
	crawl := s.crawl()
	for range 3 {
		next := s.start()
		next.wantTurn()
		crawl.more(t, 200)
		next.signal(syscall.SIGKILL)
		first.wantTurn()
		crawl.more(t, 200)
	}
	crawl.end()
	errs := crawl.failed()
	if len(errs) > 3*crawlers {
		t.Errorf("%d connections failed, and no more than %d were open", len(errs), crawlers)
	}
	for _, err := range errs {
		if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a connection that was not open failed: %v", err)
		}
	}
}

func hangingAndReplaced(t *testing.T) {
	s := newSuccession(t)
	first := s.start()
	first.wantTurn()
	first.signal(syscall.SIGSTOP)
	second := s.start()
	second.wantTurn() // beside it
	first.signal(syscall.SIGKILL)
	<-first.ended
	crawl := s.crawl()
	crawl.more(t, 200)
	time.Sleep(2 * time.Second) // by then the second has the post
	third := s.start()
	third.wantTurn()
	crawl.more(t, 200)
	second.wantEnd()
	crawl.more(t, 200)
	crawl.end()
	if errs := crawl.failed(); len(errs) > 0 {
		t.Errorf("%d connections of %d failed: %v", len(errs), crawl.served.Load(), errs[0])
	}
}
