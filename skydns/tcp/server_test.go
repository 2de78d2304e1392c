package tcp

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// answering answers with the question's name in upper case, as a TXT record; slow names take a
// while, and big ones much room.
var answering = dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
	name := query.Question[0].Name
	if strings.HasPrefix(name, "slow") {
		time.Sleep(200 * time.Millisecond)
	}
	reply := new(dns.Msg).SetReply(query)
	text := []string{strings.ToUpper(name)}
	if strings.HasPrefix(name, "big") {
		for range 200 {
			text = append(text, strings.Repeat("x", 255))
		}
	}
	reply.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: text}}
	_ = w.WriteMsg(reply) // the client notices
})

func testLimits() Limits {
	return Limits{Connections: 20, PerClient: 20, Queries: 1000, InFlight: 4, Idle: 500 * time.Millisecond, Patience: 300 * time.Millisecond}
}

// start serves until the test ends, or the returned function is called, which waits.
func start(t *testing.T, limits Limits, config *tls.Config) (addr string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = listener.Addr().String()
	if config != nil {
		listener = tls.NewListener(listener, config)
	}
	s := &Server{Listener: listener, Handler: answering, Log: slog.New(slog.DiscardHandler), Limits: limits}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if len(s.connections)+len(s.perClient) > 0 {
			t.Error("connections are left over")
		}
	})
	t.Cleanup(stop)
	return addr, stop
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func framed(t *testing.T, id uint16, name string) []byte {
	t.Helper()
	query := new(dns.Msg).SetQuestion(name, dns.TypeTXT)
	query.Id = id
	packet, err := query.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
}

func send(t *testing.T, conn net.Conn, data []byte) {
	t.Helper()
	if _, err := conn.Write(data); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, conn net.Conn) *dns.Msg {
	t.Helper()
	reply, err := (&dns.Conn{Conn: conn}).ReadMsg()
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// closedAfter waits until the server closed the connection, and says how long that took.
func closedAfter(t *testing.T, conn net.Conn) time.Duration {
	t.Helper()
	start := time.Now()
	if n, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("after %d bytes: %v", n, err)
	}
	return time.Since(start)
}

// works says whether another client is answered.
func works(addr string) error {
	client := dns.Client{Net: "tcp", Timeout: 3 * time.Second}
	reply, _, err := client.Exchange(new(dns.Msg).SetQuestion("works.example.", dns.TypeTXT), addr)
	if err == nil && len(reply.Answer) != 1 {
		return fmt.Errorf("got %v", reply)
	}
	return err
}

func TestQueriesOfOneConnectionOverlap(t *testing.T) {
	addr, _ := start(t, testLimits(), nil)
	conn := dial(t, addr)
	var all []byte
	for id := range uint16(20) {
		name := "fast.example."
		if id == 0 {
			name = "slow.example."
		}
		all = append(all, framed(t, id, name)...)
	}
	send(t, conn, all)
	seen, last := map[uint16]bool{}, uint16(0)
	for range 20 {
		reply := receive(t, conn)
		seen[reply.Id], last = true, reply.Id
		if want := strings.ToUpper(reply.Question[0].Name); reply.Answer[0].(*dns.TXT).Txt[0] != want {
			t.Errorf("id %d got the reply to another question: %v", reply.Id, reply)
		}
	}
	if len(seen) != 20 || last != 0 {
		t.Errorf("%d replies, that to the slow query not last but %d", len(seen), last)
	}
}

func TestClientsThatDoNothing(t *testing.T) {
	limits := testLimits()
	addr, _ := start(t, limits, nil)
	if took := closedAfter(t, dial(t, addr)); took < limits.Idle/2 || took > 4*limits.Idle {
		t.Errorf("a silent one was cut off after %s", took)
	}
	conn := dial(t, addr)
	query := framed(t, 1, "a.example.")
	started := time.Now()
	for _, b := range query { // one byte at a time, each in time for an idle one
		if _, err := conn.Write([]byte{b}); err != nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	closedAfter(t, conn)
	if took := time.Since(started); took > 3*time.Second {
		t.Errorf("one that sends byte by byte was cut off after %s", took)
	}
	conn = dial(t, addr)
	send(t, conn, query)
	receive(t, conn)
	send(t, conn, query) // it may go on
	receive(t, conn)
}

func TestClientsThatSendRubbish(t *testing.T) {
	addr, _ := start(t, testLimits(), nil)
	for title, rubbish := range map[string][]byte{
		"a length only": {0xff, 0xff},
		"no message":    {0, 3, 1, 2, 3},
		"a reply":       {0, 12, 0, 1, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"nothing":       {0, 0},
		"HTTP":          []byte("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"),
	} {
		conn := dial(t, addr)
		send(t, conn, rubbish)
		if took := closedAfter(t, conn); took > 2*time.Second {
			t.Errorf("%s: cut off after %s", title, took)
		}
	}
	conn := dial(t, addr)
	send(t, conn, []byte{0, 12, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}) // no question
	if reply := receive(t, conn); reply.Id != 7 || reply.Rcode != dns.RcodeFormatError {
		t.Errorf("got %v", reply)
	}
}

func TestClientThatTakesNoReplies(t *testing.T) {
	limits := testLimits()
	limits.Queries = 1 << 20
	addr, _ := start(t, limits, nil)
	conn := dial(t, addr)
	query := framed(t, 1, "big.example.")
	started := time.Now()
	for {
		if _, err := conn.Write(query); err != nil {
			break
		}
		if time.Since(started) > 8*time.Second {
			t.Fatal("it is still served")
		}
	}
	if err := works(addr); err != nil {
		t.Error(err)
	}
}

func TestThousandsOfConnections(t *testing.T) {
	limits := testLimits()
	limits.Idle = time.Minute
	addr, _ := start(t, limits, nil)
	var open atomic.Int32
	for range 2000 {
		conn := dial(t, addr)
		open.Add(1)
		go func() {
			_, _ = conn.Read(make([]byte, 1)) // until it is closed
			open.Add(-1)
		}()
	}
	deadline := time.Now().Add(5 * time.Second)
	for int(open.Load()) > limits.Connections {
		if time.Now().After(deadline) {
			t.Fatalf("%d are open", open.Load())
		}
		time.Sleep(time.Millisecond)
	}
}

func TestIdleConnectionsGiveWay(t *testing.T) {
	limits := testLimits()
	limits.PerClient, limits.Idle = 1000, time.Minute
	addr, _ := start(t, limits, nil)
	first := dial(t, addr)
	for range limits.Connections + 50 {
		dial(t, addr)
	}
	if took := closedAfter(t, first); took > 2*time.Second {
		t.Errorf("the one that was idle longest is still there after %s", took)
	}
	if err := works(addr); err != nil {
		t.Error(err)
	}
}

func TestQueriesOfAConnectionAreBounded(t *testing.T) {
	limits := testLimits()
	limits.Queries = 3
	addr, _ := start(t, limits, nil)
	conn := dial(t, addr)
	for id := range uint16(3) {
		send(t, conn, framed(t, id, "a.example."))
		receive(t, conn)
	}
	if took := closedAfter(t, conn); took > limits.Idle/2 {
		t.Errorf("closed after %s", took)
	}
}

func TestEndAnswersWhatIsInHand(t *testing.T) {
	addr, stop := start(t, testLimits(), nil)
	busy, idle := dial(t, addr), dial(t, addr)
	send(t, busy, framed(t, 1, "slow.example."))
	time.Sleep(50 * time.Millisecond) // for it to arrive
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	if reply := receive(t, busy); reply.Id != 1 {
		t.Errorf("got %v", reply)
	}
	closedAfter(t, busy)
	closedAfter(t, idle)
	<-stopped
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("it still listens")
	}
}
