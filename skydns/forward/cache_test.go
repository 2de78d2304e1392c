package forward

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// script is what stands for the nameservers in tests of time.
type script struct {
	asked atomic.Int32

	mu    sync.Mutex
	reply func() (*dns.Msg, error)
	takes time.Duration
}

func (s *script) set(reply func() (*dns.Msg, error), takes time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply, s.takes = reply, takes
}

func (s *script) get() (func() (*dns.Msg, error), time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reply, s.takes
}

// scripted returns a forwarder that asks the script.
func scripted(t *testing.T, options CacheOptions, s *script) *Forwarder {
	f := New(Options{Nameservers: []netip.AddrPort{{}}, Timeout: 2 * time.Second, Cache: options})
	f.asking = func(a asked) (*answer, error) {
		s.asked.Add(1)
		reply, takes := s.get()
		time.Sleep(takes)
		msg, err := reply()
		if err != nil {
			return nil, err
		}
		return newAnswer(pack(t, msg), a.key)
	}
	return f
}

func positive(ttl uint32) func() (*dns.Msg, error) {
	return func() (*dns.Msg, error) {
		reply := new(dns.Msg).SetReply(question(name))
		reply.Answer = []dns.RR{address(name, ttl)}
		return reply, nil
	}
}

func negative(rcode int, ttl, minimum uint32) func() (*dns.Msg, error) {
	return func() (*dns.Msg, error) {
		reply := new(dns.Msg).SetRcode(question(name), rcode)
		reply.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "example.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
			Ns: "ns.example.", Mbox: "admin.example.", Minttl: minimum}}
		return reply, nil
	}
}

func away() (*dns.Msg, error) { return nil, errors.New("nobody answers") }

func wantAsked(t *testing.T, s *script, n int32) {
	t.Helper()
	if got := s.asked.Load(); got != n {
		t.Errorf("asked %d times, want %d", got, n)
	}
}

func TestLifetimes(t *testing.T) {
	bounds := CacheOptions{Entries: 100, MaxTTL: 1000 * time.Second, MaxNegativeTTL: 100 * time.Second}
	least := bounds
	least.MinTTL = 30 * time.Second
	for title, c := range map[string]struct {
		options CacheOptions
		reply   func() (*dns.Msg, error)
		want    time.Duration
	}{
		"TTL":              {bounds, positive(60), 60 * time.Second},
		"TTL of nought":    {least, positive(0), 0},
		"at most":          {bounds, positive(5000), 1000 * time.Second},
		"at least":         {least, positive(5), 30 * time.Second},
		"NXDOMAIN":         {bounds, negative(dns.RcodeNameError, 60, 20), 20 * time.Second},
		"SOA's own TTL":    {bounds, negative(dns.RcodeNameError, 10, 20), 10 * time.Second},
		"NODATA":           {bounds, negative(dns.RcodeSuccess, 60, 60), 60 * time.Second},
		"negative at most": {bounds, negative(dns.RcodeSuccess, 900, 900), 100 * time.Second},
		"SERVFAIL":         {bounds, negative(dns.RcodeServerFailure, 900, 900), 0},
		"no SOA":           {bounds, func() (*dns.Msg, error) { return new(dns.Msg).SetRcode(question(name), dns.RcodeNameError), nil }, 0},
		"nothing is kept":  {CacheOptions{}, positive(60), 0},
	} {
		t.Run(title, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{reply: c.reply}
				f := scripted(t, c.options, s)
				defer f.Close()
				first, err := ask(t, f, question(name))
				if err != nil {
					t.Fatal(err)
				}
				if c.want > 0 {
					time.Sleep(c.want - time.Nanosecond)
					if reply, err := ask(t, f, question(name)); err != nil || reply.Rcode != first.Rcode {
						t.Errorf("just before: %v, %v", reply, err)
					}
					wantAsked(t, s, 1)
					time.Sleep(time.Nanosecond)
				}
				if _, err := ask(t, f, question(name)); err != nil {
					t.Error(err)
				}
				wantAsked(t, s, 2)
			})
		})
	}
}

func TestTTLsCountDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{reply: positive(300)}
		f := scripted(t, DefaultCache(), s)
		defer f.Close()
		wantAnswer(t, f, question(name), plain)
		time.Sleep(100*time.Second + time.Millisecond)
		// The next client spells it as it likes, under its own id.
		other := question("pLAIN.ext.EXAMPLE.org.")
		wantAnswer(t, f, other, other.Question[0].Name+" 200 IN A 192.0.2.10")
		wire, _, fresh := f.Cached([]byte("xx"), pack(t, other), time.Now())
		if !fresh || string(wire[:2]) != "xx" {
			t.Fatalf("got %x, %v", wire, fresh)
		}
		reply := unpack(t, wire[2:])
		if reply.Id != other.Id || reply.Question[0].Name != other.Question[0].Name || reply.Answer[0].Header().Ttl != 200 {
			t.Errorf("got %v", reply)
		}
		wantAsked(t, s, 1)
		for title, edit := range map[string]func(*dns.Msg){
			"type":  func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTXT },
			"class": func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
			"DO":    func(m *dns.Msg) { m.SetEdns0(1232, true) },
			"CD":    func(m *dns.Msg) { m.CheckingDisabled = true },
			"name":  func(m *dns.Msg) { m.Question[0].Name = "lain.ext.example.org." },
		} {
			query := question(name)
			edit(query)
			if _, _, fresh := f.Cached(nil, pack(t, query), time.Now()); fresh {
				t.Errorf("another %s gets the same answer", title)
			}
		}
		f.Forget()
		if _, _, fresh := f.Cached(nil, pack(t, other), time.Now()); fresh || f.Entries() != 0 {
			t.Error("what was forgotten is still there")
		}
	})
}

func TestPopularAnswersAreFetchedEarly(t *testing.T) {
	for _, popular := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{reply: positive(100), takes: time.Second}
			f := scripted(t, DefaultCache(), s)
			defer f.Close()
			asks := 1
			if popular {
				asks = popularHits
			}
			for range 1 + asks {
				if _, err := ask(t, f, question(name)); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(95 * time.Second)
			start := time.Now()
			wantAnswer(t, f, question(name), name+" 5 IN A 192.0.2.10")
			if time.Since(start) > 0 {
				t.Error("the client waited")
			}
			time.Sleep(2 * time.Second)
			if popular {
				wantAsked(t, s, 2)
				wantAnswer(t, f, question(name), name+" 99 IN A 192.0.2.10")
			} else {
				wantAsked(t, s, 1)
			}
		})
	}
}

func TestStaleAnswers(t *testing.T) {
	const stale = name + " 30 IN A 192.0.2.10"
	synctest.Test(t, func(t *testing.T) {
		s := &script{reply: positive(60)}
		f := scripted(t, CacheOptions{Entries: 10, MaxTTL: time.Hour, MaxStale: time.Hour}, s)
		defer f.Close()
		if _, err := ask(t, f, question(name)); err != nil {
			t.Fatal(err)
		}
		s.set(away, 4*time.Second)
		time.Sleep(time.Minute)

		start := time.Now()
		wantAnswer(t, f, question(name), stale)
		if took := time.Since(start); took != patience {
			t.Errorf("the client waited %s", took)
		}
		start = time.Now()
		wantAnswer(t, f, question(name), stale)
		if took := time.Since(start); took != 0 {
			t.Errorf("the next one waited %s", took)
		}
		wantAsked(t, s, 2)
		time.Sleep(retryTime + 4*time.Second)
		s.set(away, 0)
		wantAnswer(t, f, question(name), stale)
		wantAsked(t, s, 3)

		// A nameserver that cannot find an answer has none that is better than a stale one.
		time.Sleep(retryTime)
		s.set(negative(dns.RcodeServerFailure, 60, 60), 0)
		wantAnswer(t, f, question(name), stale)
		// But one that says that the name is gone has.
		time.Sleep(retryTime)
		s.set(negative(dns.RcodeNameError, 60, 60), 0)
		if reply, err := ask(t, f, question(name)); err != nil || reply.Rcode != dns.RcodeNameError {
			t.Errorf("got %v, %v", reply, err)
		}

		s.set(positive(60), 0)
		time.Sleep(10 * time.Minute)
		wantAnswer(t, f, question(name), name+" 60 IN A 192.0.2.10")
		s.set(away, 0)
		time.Sleep(time.Hour + time.Minute)
		if reply, err := ask(t, f, question(name)); err == nil {
			t.Errorf("too old, but %v", reply)
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache(CacheOptions{Entries: 100, MaxTTL: time.Hour})
	popular := &answer{lifetime: time.Hour}
	c.keep([]byte("popular"), 0, popular, 0)
	for i := range 5000 {
		now := int64(i) * int64(2*time.Second)
		if i < 1000 && c.find([]byte("popular"), now) == nil {
			t.Fatal("what is asked for all the time went")
		}
		c.keep(fmt.Appendf(nil, "key %d", i), 0, &answer{lifetime: time.Hour}, now)
	}
	if n := c.len(); n > 104 {
		t.Errorf("%d entries", n)
	}
	if c.find([]byte("key 4999"), 0) == nil {
		t.Error("the last one is not there")
	}
	c.keep([]byte("key 4999"), 0, popular, 0)
	if e := c.find([]byte("key 4999"), 0); e == nil || e.answer != popular {
		t.Error("it was not replaced")
	}
}

func TestHugeAnswersAreNotKept(t *testing.T) {
	c := newCache(DefaultCache())
	c.keep([]byte("huge"), 0, &answer{lifetime: time.Hour, wire: make([]byte, maxKept+1)}, 0)
	c.keep([]byte("large"), 0, &answer{lifetime: time.Hour, wire: make([]byte, maxKept)}, 0)
	if c.find([]byte("huge"), 0) != nil || c.find([]byte("large"), 0) == nil {
		t.Error("the bound is elsewhere")
	}
}

func TestCachedDoesNotAllocate(t *testing.T) {
	s := &script{reply: positive(300)}
	f := scripted(t, DefaultCache(), s)
	defer f.Close()
	query := pack(t, question(name))
	if _, err := f.Forward(t.Context(), nil, query, maxMessage); err != nil {
		t.Fatal(err)
	}
	dst, now := make([]byte, 0, 512), time.Now()
	if n := testing.AllocsPerRun(1000, func() { f.Cached(dst, query, now) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
