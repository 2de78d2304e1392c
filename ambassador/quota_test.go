package ambassador

import (
	"fmt"
	"io"
	"net/netip"
	"testing"

	"github.com/dokkaa/dokkaa/internal/docker"
)

func TestQuota(t *testing.T) {
	q := newQuota(2)
	one, other := netip.MustParseAddr("172.30.0.2"), netip.MustParseAddr("172.30.0.3")
	first, ok := q.take(one)
	if _, again := q.take(one); !ok || !again {
		t.Error("less than the share was granted")
	}
	if _, ok := q.take(one); ok {
		t.Error("more than the share was granted")
	}
	free, ok := q.take(other)
	if !ok {
		t.Fatal("the share of one was taken from the other")
	}
	first()
	if _, ok := q.take(one); !ok {
		t.Error("what was given back is not granted again")
	}
	free()
	if len(q.taken) != 1 {
		t.Errorf("sources without a share are kept: %v", q.taken)
	}
}

// addContainer runs a second container beside that of link, which may reach another service.
func (h *house) addContainer(addr string) {
	h.t.Helper()
	h.engine.start("other", addr, map[int]string{h.port: "other.shop.skydns.local"})
	h.engine.tell(docker.Event{Type: "container", Action: "start", ID: "other"})
}

func TestOneContainerLeavesConnectionsToOthers(t *testing.T) {
	h := startHouse(t, func(s *Settings) { s.MaxConnections, s.MaxConnectionsPerContainer = 3, 2 })
	h.dns.set("other.shop.skydns.local", startBackend(t, "127.0.0.1:0", say("served")))
	h.link("127.0.0.2", startBackend(t, "127.0.0.1:0", echo))
	h.addContainer("127.0.0.3")
	for range 2 {
		conn := h.dial("127.0.0.2")
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	h.wantRefused("127.0.0.2", reasonShare)
	h.wantAnswer("127.0.0.3", "served")
}

func TestWaitingForAnEndpointIsLimited(t *testing.T) {
	h := startHouse(t, nil)
	h.dns.set("other.shop.skydns.local", startBackend(t, "127.0.0.1:0", say("served")))
	h.link("127.0.0.2") // with no endpoint
	h.addContainer("127.0.0.3")
	for range maxWaiting {
		h.dial("127.0.0.2")
	}
	eventually(t, func() error {
		h.waiting.mu.Lock()
		defer h.waiting.mu.Unlock()
		if n := h.waiting.taken[netip.MustParseAddr("127.0.0.2")]; n != maxWaiting {
			return fmt.Errorf("%d connections wait", n)
		}
		return nil
	})
	h.wantRefused("127.0.0.2", reasonCrowd)
	h.wantAnswer("127.0.0.3", "served")
	eventually(t, func() error { // they are refused as they were before, and make room
		if n := h.refused(reasonBackend); n != maxWaiting {
			return fmt.Errorf("%v were refused for want of an endpoint", n)
		}
		return nil
	})
	h.wantRefused("127.0.0.2", reasonBackend)
}
