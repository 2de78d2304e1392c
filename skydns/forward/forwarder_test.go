package forward

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestNextNameserver(t *testing.T) {
	good := startNameserver(t, respond)
	for title, bad := range map[string]netip.AddrPort{
		"nobody there": nobody(t),
		"hangs":        startNameserver(t, hang).addr,
		"answers another question": startNameserver(t, func(w dns.ResponseWriter, query *dns.Msg) {
			query.Question[0].Name = "other.example."
			respond(w, query)
		}).addr,
		"answers under another id": startNameserver(t, func(w dns.ResponseWriter, query *dns.Msg) {
			query.Id++
			respond(w, query)
		}).addr,
		"repeats the packet": startNameserver(t, write).addr,
		"sends garbage": startNameserver(t, func(w dns.ResponseWriter, query *dns.Msg) {
			reply := new(dns.Msg).SetReply(query)
			packet, _ := reply.Pack() // it can be packed
			packet[7] = 3             // three answers that are not there
			_, _ = w.Write(packet)    // the asker notices
		}).addr,
	} {
		t.Run(title, func(t *testing.T) {
			f := newForwarder(t, Options{Nameservers: []netip.AddrPort{bad, good.addr}})
			start := time.Now()
			for range 8 {
				wantAnswer(t, f, question(name), plain)
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("it took %s: the bad one is not shunned", took)
			}
		})
	}
}

func TestOrder(t *testing.T) {
	addrs := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("192.0.2.2:53"), netip.MustParseAddrPort("192.0.2.3:53")}
	text := func(order []*upstream) string {
		var b strings.Builder
		for _, u := range order {
			b.WriteString(u.addr.Addr().String()[len("192.0.2."):])
		}
		return b.String()
	}
	now := time.Now()
	fixed, rotating := New(Options{Nameservers: addrs}), New(Options{Nameservers: addrs, Rotate: true})
	seen := map[string]bool{}
	for range 6 {
		if got := text(fixed.order(now)); got != "123" {
			t.Errorf("without rotation: %s", got)
		}
		seen[text(rotating.order(now))] = true
	}
	if len(seen) != 3 || !seen["123"] || !seen["231"] || !seen["312"] {
		t.Errorf("with rotation: %v", seen)
	}
	fixed.upstreams[0].note(errors.New("silent"), now)
	if got := text(fixed.order(now)); got != "231" {
		t.Errorf("one shunned: %s", got)
	}
	later := now.Add(shunned)
	if first, second := text(fixed.order(later)), text(fixed.order(later)); first != "123" || second != "231" {
		t.Errorf("when the time is up: %s, then %s; one query alone should try", first, second)
	}
	self := New(Options{Nameservers: addrs, IsSelf: func(a netip.AddrPort) bool { return a == addrs[1] }})
	if got := text(self.order(now)); got != "13" {
		t.Errorf("with ourselves: %s", got)
	}
}

func TestAllNameserversFailing(t *testing.T) {
	silent := startNameserver(t, hang).addr
	for title, nameservers := range map[string][]netip.AddrPort{
		"nobody there": {nobody(t), nobody(t)},
		"hanging":      {silent, startNameserver(t, hang).addr, startNameserver(t, hang).addr, startNameserver(t, hang).addr},
		"one hanging":  {silent},
		"none":         nil,
	} {
		t.Run(title, func(t *testing.T) {
			f := newForwarder(t, Options{Nameservers: nameservers})
			start := time.Now()
			reply, err := ask(t, f, question(name))
			if err == nil {
				t.Errorf("got %v", reply)
			}
			if took := time.Since(start); took > 900*time.Millisecond {
				t.Errorf("it took %s, three times the timeout", took)
			}
		})
	}
}

func TestLostPacketIsSentAgain(t *testing.T) {
	var n atomic.Int32
	lossy := startNameserver(t, func(w dns.ResponseWriter, query *dns.Msg) {
		if n.Add(1) > 1 {
			respond(w, query)
		}
	})
	wantAnswer(t, newForwarder(t, Options{Nameservers: []netip.AddrPort{lossy.addr}}), question(name), plain)
}

func TestCodesAreRelayed(t *testing.T) {
	for _, rcode := range []int{dns.RcodeNameError, dns.RcodeRefused, dns.RcodeServerFailure, dns.RcodeFormatError} {
		server := startNameserver(t, code(rcode))
		reply, err := ask(t, newForwarder(t, Options{Nameservers: []netip.AddrPort{server.addr}}), question(name))
		if err != nil || reply.Rcode != rcode || reply.Question[0].Name != name {
			t.Errorf("code %d came as %v, %v", rcode, reply, err)
		}
		if want := int32(1); rcode == dns.RcodeServerFailure && server.udp.Load() != 2 || rcode != dns.RcodeServerFailure && server.udp.Load() != want {
			t.Errorf("code %d was asked for %d times", rcode, server.udp.Load())
		}
	}
	bare := startNameserver(t, func(w dns.ResponseWriter, query *dns.Msg) {
		reply := new(dns.Msg).SetRcode(query, dns.RcodeRefused)
		reply.Question = nil
		write(w, reply)
	})
	reply, err := ask(t, newForwarder(t, Options{Nameservers: []netip.AddrPort{bare.addr}}), question(name))
	if err != nil || reply.Rcode != dns.RcodeRefused || len(reply.Question) != 1 || reply.Question[0].Name != name {
		t.Errorf("a refusal without the question came as %v, %v", reply, err)
	}
}

func TestNameserverWithoutEDNS(t *testing.T) {
	server := startNameserver(t, func(w dns.ResponseWriter, query *dns.Msg) {
		if query.IsEdns0() != nil {
			code(dns.RcodeFormatError)(w, query)
			return
		}
		respond(w, query)
	})
	f := newForwarder(t, Options{Nameservers: []netip.AddrPort{server.addr}})
	query := question(name).SetEdns0(1232, false)
	wantAnswer(t, f, query, plain)
	if reply, err := ask(t, f, query); err != nil || reply.IsEdns0() == nil {
		t.Errorf("no OPT in the reply to a query with one: %v, %v", reply, err)
	}
}

func TestQueryGoesOnAsItCame(t *testing.T) {
	got := make(chan *dns.Msg, 1)
	server := startNameserver(t, func(w dns.ResponseWriter, query *dns.Msg) {
		got <- query.Copy()
		respond(w, query)
	})
	f := newForwarder(t, Options{Nameservers: []netip.AddrPort{server.addr}, Cache: DefaultCache()})
	for title, edit := range map[string]func(*dns.Msg){
		"plain":        func(*dns.Msg) {},
		"no recursion": func(m *dns.Msg) { m.RecursionDesired = false },
		"no checking":  func(m *dns.Msg) { m.CheckingDisabled = true },
		"AD":           func(m *dns.Msg) { m.AuthenticatedData = true },
		"EDNS":         func(m *dns.Msg) { m.SetEdns0(1400, false) },
		"DO":           func(m *dns.Msg) { m.SetEdns0(1400, true) },
	} {
		query := question(name)
		edit(query)
		if _, err := ask(t, f, query); err != nil {
			t.Errorf("%s: %v", title, err)
			continue
		}
		asked := <-got
		if asked.Id == query.Id {
			t.Errorf("%s: the client's id was sent on", title)
		}
		if !strings.EqualFold(asked.Question[0].Name, name) || asked.Question[0].Name == name {
			t.Errorf("%s: asked for %s, which is no spelling of its own", title, asked.Question[0].Name)
		}
		asked.Id, asked.Question = query.Id, query.Question
		if asked.String() != query.String() {
			t.Errorf("%s: asked\n%v\nwant\n%v", title, asked, query)
		}
	}
}

func TestTruncatedReplyIsFetchedOverTCP(t *testing.T) {
	truncating := func(tcp dns.HandlerFunc) *nameserver {
		return startNameserver(t, func(w dns.ResponseWriter, query *dns.Msg) {
			if overTCP(w) {
				tcp(w, query)
				return
			}
			reply := new(dns.Msg).SetReply(query)
			reply.Truncated = true
			write(w, reply)
		})
	}
	wantAnswer(t, newForwarder(t, Options{Nameservers: []netip.AddrPort{truncating(respond).addr}}), question(name), plain)
	f := newForwarder(t, Options{Nameservers: []netip.AddrPort{truncating(hang).addr}, Cache: DefaultCache()})
	reply, err := ask(t, f, question(name))
	if err != nil || !reply.Truncated || reply.Rcode != dns.RcodeSuccess {
		t.Errorf("where TCP fails as well: %v, %v", reply, err)
	}
	if f.Entries() != 0 {
		t.Error("a truncated reply is kept")
	}
}

func TestNameserverThatChangesTheCase(t *testing.T) {
	folding := func(w dns.ResponseWriter, query *dns.Msg) {
		query.Question[0].Name = strings.ToLower(query.Question[0].Name)
		respond(w, query)
	}
	server := startNameserver(t, folding)
	f := newForwarder(t, Options{Nameservers: []netip.AddrPort{server.addr}})
	for range 5 {
		wantAnswer(t, f, question(name), plain)
	}
	if tcp := server.tcp.Load(); tcp != 1 {
		t.Errorf("it was asked %d times over TCP; once tells that it folds names", tcp)
	}
	forger := startNameserver(t, func(w dns.ResponseWriter, query *dns.Msg) {
		if !overTCP(w) {
			folding(w, query)
			return
		}
		respond(w, query)
	})
	f = newForwarder(t, Options{Nameservers: []netip.AddrPort{forger.addr}})
	for range 2 {
		wantAnswer(t, f, question(name), plain)
	}
	if tcp := forger.tcp.Load(); tcp != 2 {
		t.Errorf("replies that may be forged were taken: asked %d times over TCP", tcp)
	}
}

func TestOneQueryForAllWhoAskTheSame(t *testing.T) {
	release := make(chan struct{})
	server := startNameserver(t, func(w dns.ResponseWriter, query *dns.Msg) {
		<-release
		respond(w, query)
	})
	f := newForwarder(t, Options{Nameservers: []netip.AddrPort{server.addr}, Timeout: 5 * time.Second})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { wantAnswer(t, f, question(name), plain) })
	}
	for f.Stats().Shared.Load() < 49 {
		time.Sleep(time.Millisecond)
	}
	close(release)
	wg.Wait()
	if n := server.udp.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestQuestionThatComesBack(t *testing.T) {
	var forwarder atomic.Pointer[Forwarder]
	var returned atomic.Pointer[error]
	server := startNameserver(t, func(w dns.ResponseWriter, query *dns.Msg) {
		packet, _ := query.Pack() // it came packed
		_, err := forwarder.Load().Forward(context.Background(), nil, packet, maxMessage)
		returned.Store(&err)
		code(dns.RcodeServerFailure)(w, query)
	})
	f := newForwarder(t, Options{Nameservers: []netip.AddrPort{server.addr}})
	forwarder.Store(f)
	reply, err := ask(t, f, question(name))
	if err != nil || reply.Rcode != dns.RcodeServerFailure {
		t.Errorf("got %v, %v", reply, err)
	}
	if err := returned.Load(); err == nil || !errors.Is(*err, ErrLoop) {
		t.Errorf("the question that came back: %v", err)
	}
	if n := server.udp.Load(); n != 2 {
		t.Errorf("asked %d times, want the question and its repetition", n)
	}
}

func TestBounds(t *testing.T) {
	server := startNameserver(t, respond)
	f := newForwarder(t, Options{Nameservers: []netip.AddrPort{server.addr}})
	f.waiting.Store(maxWaiting)
	if _, err := ask(t, f, question(name)); !errors.Is(err, ErrBusy) {
		t.Errorf("too many waiting: %v", err)
	}
	f.waiting.Store(0)
	for i := range maxFlights {
		f.flights[string(rune(i))] = nil
	}
	if _, err := ask(t, f, question(name)); !errors.Is(err, ErrBusy) {
		t.Errorf("too many flights: %v", err)
	}
	delete(f.flights, string(rune(0)))
	wantAnswer(t, f, question(name), plain)
}

func TestSocketsAreUsedAgain(t *testing.T) {
	ports := map[string]int{}
	var mu sync.Mutex
	server := startNameserver(t, func(w dns.ResponseWriter, query *dns.Msg) {
		mu.Lock()
		ports[w.RemoteAddr().String()]++
		mu.Unlock()
		respond(w, query)
	})
	f := newForwarder(t, Options{Nameservers: []netip.AddrPort{server.addr}})
	for range 2*socketUses + 1 {
		wantAnswer(t, f, question(name), plain)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(ports) != 3 {
		t.Errorf("%d questions from %d ports, want 3", 2*socketUses+1, len(ports))
	}
}

func TestCloseWaits(t *testing.T) {
	server := startNameserver(t, hang)
	f := New(Options{Nameservers: []netip.AddrPort{server.addr}, Timeout: 100 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Forward(ctx, nil, pack(t, question(name)), maxMessage); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that went away: %v", err)
	}
	f.Close()
	if len(f.flights) != 0 {
		t.Error("a question is still asked")
	}
	if _, err := ask(t, f, question(name)); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
}
