package ambassador

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dokkaa/dokkaa/ambassador/backend"
	"github.com/dokkaa/dokkaa/internal/docker"
)

func TestALinkedContainerReachesItsBackend(t *testing.T) {
	h := startHouse(t, nil)
	h.link("127.0.0.2", startBackend(t, "127.0.0.1:0", say("page")))
	h.wantAnswer("127.0.0.2", "page")
}

func TestWhoHasNoLinkGetsNoByte(t *testing.T) {
	h := startHouse(t, nil)
	h.link("127.0.0.2", startBackend(t, "127.0.0.1:0", say("secret")))
	h.engine.start("other", "127.0.0.3", map[int]string{h.port + 1: "web.shop.skydns.local"})
	h.engine.start("none", "127.0.0.4", nil)
	h.wantRefused("127.0.0.3", reasonNoLink)
	h.wantRefused("127.0.0.4", reasonNoLink)
	h.wantRefused("127.0.0.5", reasonStranger)
}

func TestTheHostItselfIsRefusedWithAReasonOfItsOwn(t *testing.T) {
	h := startHouse(t, nil)
	h.link("127.0.0.2", startBackend(t, "127.0.0.1:0", say("secret")))
	h.wantRefused("127.0.0.1", reasonHost)
}

func TestAnAddressThatIPv6MapsIsTheSame(t *testing.T) {
	h := startHouse(t, func(s *Settings) { s.ListenAddr = "::" })
	h.link("127.0.0.2", startBackend(t, "127.0.0.1:0", say("page")))
	h.wantAnswer("127.0.0.2", "page")
}

func TestAContainerThatDockerListsLateIsAwaited(t *testing.T) {
	h := startHouse(t, nil)
	backend := startBackend(t, "127.0.0.1:0", say("page"))
	h.dns.set("web.shop.skydns.local", backend)
	conn := h.dial("127.0.0.2") // and no event yet
	time.Sleep(200 * time.Millisecond)
	h.engine.start("crawler", "127.0.0.2", map[int]string{h.port: "web.shop.skydns.local"})
	if got, err := io.ReadAll(conn); err != nil || string(got) != "page" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestANewContainerNeverInheritsLinksWithItsAddress(t *testing.T) {
	for name, event := range map[string]docker.Event{
		"die":        {Type: "container", Action: "die", ID: "crawler"},
		"destroy":    {Type: "container", Action: "destroy", ID: "crawler"},
		"disconnect": {Type: "network", Action: "disconnect", Attributes: map[string]string{"container": "crawler"}},
		"unwatched":  {Type: docker.Disconnected},
	} {
		t.Run(name, func(t *testing.T) {
			h := startHouse(t, nil)
			h.link("127.0.0.2", startBackend(t, "127.0.0.1:0", say("secret")))
			h.wantAnswer("127.0.0.2", "secret")
			h.engine.remove("crawler")
			h.engine.start("thief", "127.0.0.2", nil)
			h.engine.tell(event)
			h.wantRefused("127.0.0.2", reasonNoLink)
		})
	}
}

func TestManyLinesAtOnceShareAListing(t *testing.T) {
	h := startHouse(t, nil)
	h.engine.start("crawler", "127.0.0.2", map[int]string{h.port: "web.shop.skydns.local"})
	h.dns.set("web.shop.skydns.local", startBackend(t, "127.0.0.1:0", say("page")))
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if got, err := h.ask("127.0.0.2"); err != nil || got != "page" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	group.Wait()
	if lists := h.engine.listings(); lists > 10 {
		t.Errorf("%d listings", lists)
	}
	if asked := h.dns.asked(); asked > 5 {
		t.Errorf("%d questions", asked)
	}
}

func TestTheNextBackendIsTriedOnADialError(t *testing.T) {
	h := startHouse(t, nil)
	first := closedPort(t)
	first.Priority = 1 // it would always be the first
	h.link("127.0.0.2", first, startBackend(t, "127.0.0.1:0", say("page")))
	for range 3 {
		h.wantAnswer("127.0.0.2", "page")
	}
}

func TestNothingIsTriedAgainAfterAByte(t *testing.T) {
	h := startHouse(t, nil)
	served := make(chan struct{}, 10)
	h.link("127.0.0.2", startBackend(t, "127.0.0.1:0", func(conn *net.TCPConn) {
		served <- struct{}{}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err == nil {
			abort(conn)
		}
	}))
	conn := h.dial("127.0.0.2")
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %q, %v; want the backend's reset", got, err)
	}
	if n := len(served); n != 1 {
		t.Errorf("backend was reached %d times", n)
	}
}

func TestABackendThatComesBackInAMomentIsAwaited(t *testing.T) {
	h := startHouse(t, nil)
	h.link("127.0.0.2") // with no endpoint
	conn := h.dial("127.0.0.2")
	time.Sleep(500 * time.Millisecond)
	h.dns.set("web.shop.skydns.local", startBackend(t, "127.0.0.1:0", say("page")))
	if got, err := io.ReadAll(conn); err != nil || string(got) != "page" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestWithoutABackendTheCallerIsRefusedInTime(t *testing.T) {
	h := startHouse(t, nil)
	h.link("127.0.0.2", closedPort(t))
	start := time.Now()
	h.wantRefused("127.0.0.2", reasonBackend)
	if took := time.Since(start); took > 2*endpointPatience {
		t.Errorf("took %v", took)
	}
}

func TestWithoutANameServerTheLastAnswerServes(t *testing.T) {
	for name, fail := range map[string]func(*fakeDNS){
		"gone":    func(f *fakeDNS) { f.stop() },
		"silent":  func(f *fakeDNS) { f.change(func(f *fakeDNS) { f.silent = true }) },
		"failing": func(f *fakeDNS) { f.change(func(f *fakeDNS) { f.rcode = dns.RcodeServerFailure }) },
	} {
		t.Run(name, func(t *testing.T) {
			h := startHouse(t, nil)
			h.link("127.0.0.2", startBackend(t, "127.0.0.1:0", say("page")))
			h.wantAnswer("127.0.0.2", "page")
			fail(h.dns)
			// Not as fast as can be: thousands of connections that just ended make the kernel drop
			// new ones on loopback.
			for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
				start := time.Now()
				h.wantAnswer("127.0.0.2", "page")
				if took := time.Since(start); took > time.Second/2 { // it waited for the name server
					t.Fatalf("took %v", took)
				}
			}
		})
	}
}

func TestThatThereIsNoSuchServiceIsAnAnswer(t *testing.T) {
	h := startHouse(t, nil)
	h.link("127.0.0.2", startBackend(t, "127.0.0.1:0", say("page")))
	h.wantAnswer("127.0.0.2", "page")
	h.dns.change(func(f *fakeDNS) { clear(f.records) })
	eventually(t, func() error {
		if got, err := h.ask("127.0.0.2"); err == nil {
			return errors.New("still got " + got)
		}
		return nil
	})
}

func TestTheEndOfOneDirectionIsPassedOnAlone(t *testing.T) {
	h := startHouse(t, nil)
	h.link("127.0.0.2", startBackend(t, "127.0.0.1:0", echo))
	conn := h.dial("127.0.0.2")
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // more than all buffers
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := conn.Write(sent); err != nil {
			t.Error(err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	got, err := io.ReadAll(conn)
	group.Wait()
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("got %d of %d bytes, %v", len(got), len(sent), err)
	}
}

func TestTheClientsResetReachesTheBackend(t *testing.T) {
	h := startHouse(t, nil)
	ended := make(chan error, 1)
	h.link("127.0.0.2", startBackend(t, "127.0.0.1:0", func(conn *net.TCPConn) {
		_, err := io.Copy(conn, conn)
		ended <- err
	}))
	conn := h.dial("127.0.0.2")
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	abort(conn)
	select {
	case err := <-ended:
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("backend saw %v", err)
		}
	case <-time.After(waitFor):
		t.Error("backend saw nothing")
	}
}

func TestAnIdleConnectionEnds(t *testing.T) {
	h := startHouse(t, func(s *Settings) { s.IdleTimeout = time.Second })
	h.link("127.0.0.2", startBackend(t, "127.0.0.1:0", echo))
	conn := h.dial("127.0.0.2")
	for range 10 { // longer than the timeout, but never idle for it
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(120 * time.Millisecond)
	}
	if got, err := io.ReadAll(conn); err == nil || len(got) > 0 {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestShutdownLetsOpenConnectionsEnd(t *testing.T) {
	h := startHouse(t, nil)
	h.link("127.0.0.2", startBackend(t, "127.0.0.1:0", echo))
	conn := h.dial("127.0.0.2")
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() {
		h.stop()
		close(stopped)
	}()
	eventually(t, func() error {
		if len(h.Addrs()) > 0 {
			return errors.New("still listening")
		}
		return nil
	})
	if _, err := conn.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "last words" {
		t.Errorf("got %q, %v", got, err)
	}
	select {
	case <-stopped:
	case <-time.After(2 * time.Second):
		t.Error("goes on though nothing is open")
	}
}

func TestShutdownIsBounded(t *testing.T) {
	h := startHouse(t, func(s *Settings) { s.DrainTimeout = 100 * time.Millisecond })
	h.link("127.0.0.2", startBackend(t, "127.0.0.1:0", echo))
	conn := h.dial("127.0.0.2")
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	h.stop()
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	if _, err := io.ReadAll(conn); err == nil {
		t.Error("connection goes on")
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	h := startHouse(t, func(s *Settings) { s.MaxConnections = 2 })
	h.link("127.0.0.2", startBackend(t, "127.0.0.1:0", echo))
	var open []*net.TCPConn
	for range 2 {
		conn := h.dial("127.0.0.2")
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	h.wantRefused("127.0.0.2", reasonBusy)
	open[0].Close()
	eventually(t, func() error {
		conn, err := h.tryDial("127.0.0.2")
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("x")); err != nil {
			return err
		}
		_, err = io.ReadFull(conn, make([]byte, 1))
		return err
	})
}

func TestConnectionsSpreadOverEndpoints(t *testing.T) {
	h := startHouse(t, nil)
	var endpoints []backend.Endpoint
	for _, name := range []string{"a", "b", "c", "d"} {
		endpoints = append(endpoints, startBackend(t, "127.0.0.1:0", say(name)))
	}
	h.link("127.0.0.2", endpoints...)
	var all strings.Builder
	for range 60 {
		got, err := h.ask("127.0.0.2")
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(got)
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		if strings.Count(all.String(), name) < 3 {
			t.Errorf("%s was hardly used: %s", name, all.String())
		}
	}
}
