package ambassador

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/ambassador/backend"
	"github.com/dokkaa/dokkaa/internal/docker"
)

// udpName is where the nameserver has the endpoints of service web that take datagrams.
const udpName = "udp.web.shop.skydns.local"

// linkUDP runs a container at addr that may send to the endpoints.
func (h *house) linkUDP(addr string, endpoints ...backend.Endpoint) {
	h.t.Helper()
	h.dns.set(udpName, endpoints...)
	h.engine.start("crawler", addr, map[int]string{h.port: "web.shop.skydns.local"})
	h.engine.tell(docker.Event{Type: "container", Action: "start", ID: "crawler"})
}

// sayUDP is a backend that answers each datagram with its name and what it got.
func sayUDP(t *testing.T, name string) (endpoint backend.Endpoint, stop func()) {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		buffer := make([]byte, 64<<10)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUDPAddrPort(append([]byte(name+" "), buffer[:n]...), from)
		}
	})
	stop = func() {
		conn.Close()
		group.Wait()
	}
	t.Cleanup(stop)
	return backend.Endpoint{Addr: conn.LocalAddr().(*net.UDPAddr).AddrPort(), Priority: 10, Weight: 100}, stop
}

// socketAt is a caller's socket.
func (h *house) socketAt(addr string) *net.UDPConn {
	h.t.Helper()
	to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: h.port}
	conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(addr)}, to)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	return conn
}

// exchange sends a datagram, again and again if there is no answer, as callers do. Late answers to
// others before it are passed over.
func exchange(conn *net.UDPConn, text string, patience time.Duration) (string, error) {
	buffer := make([]byte, 64<<10)
	for deadline := time.Now().Add(patience); ; {
		if _, err := conn.Write([]byte(text)); err != nil {
			return "", err
		}
		if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			return "", err
		}
		n, err := conn.Read(buffer)
		for err == nil && !strings.HasSuffix(string(buffer[:n]), " "+text) {
			n, err = conn.Read(buffer)
		}
		if err == nil || time.Now().After(deadline) {
			return string(buffer[:n]), err
		}
	}
}

func TestDatagramsReachTheBackendAndRepliesTheCaller(t *testing.T) {
	h := startHouse(t, nil)
	endpoint, _ := sayUDP(t, "a")
	h.linkUDP("127.0.0.2", endpoint)
	first, second := h.socketAt("127.0.0.2"), h.socketAt("127.0.0.2")
	for i := range 10 {
		for name, conn := range map[string]*net.UDPConn{"one": first, "two": second} {
			text := fmt.Sprint(name, i)
			if got, err := exchange(conn, text, waitFor); err != nil || got != "a "+text {
				t.Fatalf("got %q, %v", got, err)
			}
		}
	}
	eventually(t, func() error {
		r := h.report()
		if len(r.Services) != 1 || r.Services[0].Open != 2 || r.Services[0].Opened != 2 || r.Services[0].Up < 80 || r.Services[0].Down < 120 {
			return fmt.Errorf("%+v", r.Services)
		}
		return nil
	})
}

func TestWhoHasNoLinkGetsNoDatagramThrough(t *testing.T) {
	h := startHouse(t, nil)
	endpoint, _ := sayUDP(t, "secret")
	h.linkUDP("127.0.0.2", endpoint)
	h.engine.start("other", "127.0.0.3", map[int]string{h.port + 1: "web.shop.skydns.local"})
	for from, reason := range map[string]string{"127.0.0.3": reasonNoLink, "127.0.0.5": reasonStranger} {
		if got, err := exchange(h.socketAt(from), "x", 0); err == nil {
			t.Errorf("%s got %q", from, got)
		}
		eventually(t, func() error {
			if h.refused(reason) == 0 {
				return errors.New("nobody was refused for " + reason)
			}
			return nil
		})
	}
}

// TestTCPAndUDPAreApart: ports of the two have nothing to do with each other.
func TestTCPAndUDPAreApart(t *testing.T) {
	h := startHouse(t, nil)
	endpoint, _ := sayUDP(t, "secret")
	h.linkUDP("127.0.0.2")
	h.dns.set("web.shop.skydns.local", endpoint) // as if it took connections
	if got, err := exchange(h.socketAt("127.0.0.2"), "x", time.Second); err == nil {
		t.Errorf("got %q from the port of another protocol", got)
	}
}

func TestAFlowEndsWithItsContainer(t *testing.T) {
	h := startHouse(t, nil)
	endpoint, _ := sayUDP(t, "secret")
	h.linkUDP("127.0.0.2", endpoint)
	conn := h.socketAt("127.0.0.2")
	if got, err := exchange(conn, "x", waitFor); err != nil || got != "secret x" {
		t.Fatalf("got %q, %v", got, err)
	}
	h.engine.remove("crawler")
	h.engine.start("thief", "127.0.0.2", nil) // with the same address, and even the same port
	h.engine.tell(docker.Event{Type: "container", Action: "die", ID: "crawler"})
	if got, err := exchange(conn, "y", time.Second); err == nil {
		t.Errorf("got %q", got)
	}
	eventually(t, func() error {
		if r := h.report(); r.Services[0].Open != 0 {
			return fmt.Errorf("%+v", r.Services)
		}
		return nil
	})
}

func TestFlowsGoOnWhileEventsAreMissed(t *testing.T) {
	h := startHouse(t, nil)
	endpoint, _ := sayUDP(t, "a")
	h.linkUDP("127.0.0.2", endpoint)
	conn := h.socketAt("127.0.0.2")
	if _, err := exchange(conn, "x", waitFor); err != nil {
		t.Fatal(err)
	}
	h.engine.tell(docker.Event{Type: docker.Disconnected})
	for range 20 {
		if got, err := exchange(conn, "y", waitFor); err != nil || got != "a y" {
			t.Fatalf("who is still there got %q, %v", got, err)
		}
	}
}

func TestFlowsGoOnWhileDockerIsAway(t *testing.T) {
	h := startHouse(t, nil)
	endpoint, _ := sayUDP(t, "a")
	h.linkUDP("127.0.0.2", endpoint)
	conn := h.socketAt("127.0.0.2")
	if _, err := exchange(conn, "x", waitFor); err != nil {
		t.Fatal(err)
	}
	h.engine.fail(errDocker)
	h.engine.tell(docker.Event{Type: docker.Disconnected})
	for range 20 {
		if got, err := exchange(conn, "y", waitFor); err != nil || got != "a y" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if got, err := exchange(h.socketAt("127.0.0.2"), "new", waitFor); err != nil || got != "a new" {
		t.Errorf("a new flow got %q, %v", got, err)
	}
}

func TestAFlowLeavesAWithdrawnBackend(t *testing.T) {
	h := startHouse(t, nil)
	a, _ := sayUDP(t, "a")
	b, _ := sayUDP(t, "b")
	h.linkUDP("127.0.0.2", a)
	conn := h.socketAt("127.0.0.2")
	if got, err := exchange(conn, "x", waitFor); err != nil || got != "a x" {
		t.Fatalf("got %q, %v", got, err)
	}
	h.dns.set(udpName, a, b)
	for range 20 {
		time.Sleep(70 * time.Millisecond) // in all, longer than an answer is used
		if got, err := exchange(conn, "x", waitFor); err != nil || got != "a x" {
			t.Fatalf("the backend is still there, and the flow got %q, %v", got, err)
		}
	}
	h.dns.set(udpName, b)
	eventually(t, func() error {
		if got, err := exchange(conn, "x", waitFor); err != nil || got != "b x" {
			return fmt.Errorf("got %q, %v", got, err)
		}
		return nil
	})
}

func TestAFlowLeavesABackendThatRefuses(t *testing.T) {
	h := startHouse(t, nil)
	a, stop := sayUDP(t, "a")
	b, _ := sayUDP(t, "b")
	a.Priority = 1
	h.linkUDP("127.0.0.2", a, b)
	conn := h.socketAt("127.0.0.2")
	if got, err := exchange(conn, "x", waitFor); err != nil || got != "a x" {
		t.Fatalf("got %q, %v", got, err)
	}
	stop()
	if got, err := exchange(conn, "y", waitFor); err != nil || got != "b y" {
		t.Errorf("got %q, %v", got, err)
	}
	eventually(t, func() error {
		for _, one := range h.report().Services[0].Backends {
			if one.Address == a.Addr.String() && (one.Failed == 0 || one.Open != 0) {
				return fmt.Errorf("%+v", one)
			}
		}
		return nil
	})
}

func TestABackendThatComesInAMomentGetsTheDatagram(t *testing.T) {
	h := startHouse(t, nil)
	h.linkUDP("127.0.0.2")
	conn := h.socketAt("127.0.0.2")
	if _, err := conn.Write([]byte("once")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	endpoint, _ := sayUDP(t, "a")
	h.dns.set(udpName, endpoint)
	if err := conn.SetReadDeadline(time.Now().Add(waitFor)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 100)
	if n, err := conn.Read(buffer); err != nil || string(buffer[:n]) != "a once" {
		t.Errorf("got %q, %v", buffer[:n], err)
	}
}
