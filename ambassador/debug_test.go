package ambassador

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/ambassador/ledger"
)

// get asks an operations endpoint from the address.
func (h *house) get(path, from string) *httptest.ResponseRecorder {
	mux := http.NewServeMux()
	h.Routes(mux)
	request := httptest.NewRequest(http.MethodGet, path, nil)
	request.RemoteAddr = from
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, request)
	return w
}

// report reads what the autoscaler does.
func (h *house) report() (report ledger.Report) {
	h.t.Helper()
	if err := json.Unmarshal(h.get("/v1/services", "127.0.0.1:9").Body.Bytes(), &report); err != nil {
		h.t.Fatal(err)
	}
	return report
}

func TestConnectionsAreCountedByServiceAndBackend(t *testing.T) {
	h := startHouse(t, nil)
	backend := startBackend(t, "127.0.0.1:0", echo)
	h.link("127.0.0.2", backend)
	conn := h.dial("127.0.0.2")
	if _, err := conn.Write([]byte("four")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	if r := h.report(); len(r.Services) != 1 || r.Services[0].Open != 1 || r.Services[0].Opened != 1 {
		t.Errorf("while it is open: %+v", r)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Fatal(err)
	}
	want := ledger.ServiceReport{App: "shop", Service: "web", Opened: 1, Up: 4, Down: 4,
		Backends: []ledger.BackendReport{{Address: backend.Addr.String(), Opened: 1, Up: 4, Down: 4}}}
	eventually(t, func() error {
		if r := h.report(); fmt.Sprint(r.Services) != fmt.Sprint([]ledger.ServiceReport{want}) {
			return fmt.Errorf("got %+v, want %+v", r.Services, want)
		}
		return nil
	})
}

func TestStrangersMakeNoAccounts(t *testing.T) {
	h := startHouse(t, nil)
	h.link("127.0.0.2", closedPort(t))
	h.engine.start("none", "127.0.0.4", nil)
	h.wantRefused("127.0.0.4", reasonNoLink)
	h.wantRefused("127.0.0.5", reasonStranger)
	if r := h.report(); len(r.Services) != 0 {
		t.Errorf("got %+v", r.Services)
	}
	h.wantRefused("127.0.0.2", reasonBackend)
	if r := h.report(); len(r.Services) != 1 || r.Services[0].Refused != 1 || r.Services[0].Opened != 0 || r.Services[0].Backends[0].Failed == 0 {
		t.Errorf("got %+v", r.Services)
	}
}

func TestTheTableOfCallersIsForThisHostAlone(t *testing.T) {
	h := startHouse(t, nil)
	closed := closedPort(t)
	h.link("127.0.0.2", closed, startBackend(t, "127.0.0.1:0", say("page")))
	for range 20 { // until the closed one was chosen, and set aside
		h.wantAnswer("127.0.0.2", "page")
	}
	for _, from := range []string{"10.0.0.7:9", "[2001:db8::1]:9", "nobody"} {
		if w := h.get("/debug/callers", from); w.Code != http.StatusForbidden {
			t.Errorf("from %s: %d", from, w.Code)
		}
	}
	w := h.get("/debug/callers", "[::ffff:127.0.0.1]:9")
	var got table
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
		t.Fatal(w.Code, err)
	}
	if len(got.Callers) != 1 || got.Callers[0].Container != "crawler" || got.Callers[0].Links[h.port] != "web.shop.skydns.local" {
		t.Errorf("callers %+v", got.Callers)
	}
	if len(got.Services) != 1 || len(got.Services[0].Endpoints) < 2 {
		t.Fatalf("services %+v", got.Services)
	}
	for _, e := range got.Services[0].Endpoints {
		if e.SetAside != (e.Address == closed.Addr) {
			t.Errorf("endpoint %+v", e)
		}
	}
}

// logBuffer is a log that is read while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestTheAccessLogHasALineForEachConnection(t *testing.T) {
	var log logBuffer
	h := startHouse(t, func(s *Settings) { s.AccessLog, s.UDPTimeout = 1, 300*time.Millisecond })
	h.log = slog.New(slog.NewTextHandler(&log, nil))
	backend := startBackend(t, "127.0.0.1:0", func(conn *net.TCPConn) {
		_, _ = io.WriteString(conn, "page") // a client that left is the test's own
	})
	h.link("127.0.0.2", backend)
	h.wantAnswer("127.0.0.2", "page")
	endpoint, _ := sayUDP(t, "a")
	h.linkUDP("127.0.0.2", endpoint)
	if _, err := exchange(h.socketAt("127.0.0.2"), "x", waitFor); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		for _, want := range []string{"msg=\"flow ended\"", "endpoint=" + endpoint.Addr.String(), "ended=idle", "container=crawler", "service=web.shop.skydns.local", "endpoint=" + backend.Addr.String(), "up=0 down=4", "ended=orderly"} {
			if !strings.Contains(log.String(), want) {
				return errors.New("no " + want + " in " + log.String())
			}
		}
		return nil
	})
}
