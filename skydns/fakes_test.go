package skydns

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// checks are what a reply may be wanted to be.
var checks = map[string]func(*dns.Msg) error{
	"distinct":  checkDistinct,
	"echoed":    func(*dns.Msg) error { return nil }, // every reply is
	"this-hour": checkSerial,
	"resolved":  checkResolved,
	"followed":  checkFollowed,
}

func checkDistinct(reply *dns.Msg) error {
	for _, section := range [][]dns.RR{reply.Answer, reply.Ns, reply.Extra} {
		for i, rr := range section {
			for _, other := range section[:i] {
				if dns.IsDuplicate(rr, other) {
					return fmt.Errorf("%s twice", rr)
				}
			}
		}
	}
	return nil
}

// checkSerial checks that an SOA's serial is the current hour.
func checkSerial(reply *dns.Msg) error {
	for _, rr := range append(reply.Answer, reply.Ns...) {
		soa, ok := rr.(*dns.SOA)
		if age := time.Now().Unix(); ok && (soa.Serial%3600 != 0 || age-int64(soa.Serial) < -5 || age-int64(soa.Serial) > 3605) {
			return fmt.Errorf("serial is %d", soa.Serial)
		}
	}
	return nil
}

// checkResolved checks that each target of an SRV record has an address in the reply.
func checkResolved(reply *dns.Msg) error {
	return haveRecords(reply.Answer, reply.Extra, func(rr dns.RR) string {
		if srv, ok := rr.(*dns.SRV); ok {
			return srv.Target
		}
		return ""
	})
}

// checkFollowed checks that each CNAME's target has records in the answer.
func checkFollowed(reply *dns.Msg) error {
	return haveRecords(reply.Answer, reply.Answer, func(rr dns.RR) string {
		if cname, ok := rr.(*dns.CNAME); ok {
			return cname.Target
		}
		return ""
	})
}

func haveRecords(from, in []dns.RR, target func(dns.RR) string) error {
	owners := map[string]bool{}
	for _, rr := range in {
		owners[strings.ToLower(rr.Header().Name)] = true
	}
	for _, rr := range from {
		if name := target(rr); name != "" && !owners[strings.ToLower(name)] {
			return fmt.Errorf("there is nothing of %s", name)
		}
	}
	return nil
}

// fakeZone is a nameserver that knows the records of a file, and has some odd names.
type fakeZone struct {
	authoritative bool
	records       map[string][]dns.RR
	soa           dns.RR

	mu    sync.Mutex
	asked map[string]int
}

func newFakeZone(t *testing.T, file string, authoritative bool) *fakeZone {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := &fakeZone{authoritative: authoritative, records: map[string][]dns.RR{}, asked: map[string]int{}}
	parser := dns.NewZoneParser(f, "", file)
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		if rr.Header().Rrtype == dns.TypeSOA {
			z.soa = rr
			continue
		}
		z.records[rr.Header().Name] = append(z.records[rr.Header().Name], rr)
	}
	if err := parser.Err(); err != nil {
		t.Fatal(err)
	}
	return z
}

func (z *fakeZone) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	name := dns.CanonicalName(query.Question[0].Name)
	z.mu.Lock()
	z.asked[name]++
	even := z.asked[name]%2 == 0
	z.mu.Unlock()
	reply := new(dns.Msg).SetReply(query)
	reply.Authoritative, reply.RecursionAvailable = z.authoritative, !z.authoritative
	first, _, _ := strings.Cut(name, ".")
	switch {
	case first == "silent":
		return
	case first == "broken", first == "flaky" && !even:
		reply.Rcode = dns.RcodeServerFailure
	case first == "refused":
		reply.Rcode = dns.RcodeRefused
	case first == "truncated" && w.RemoteAddr().Network() == "udp":
		reply.Truncated = true
	case first == "echo":
		reply.Answer = []dns.RR{echo(query)}
	default:
		z.answer(reply, name)
	}
	_ = w.WriteMsg(reply) // the client notices
}

func (z *fakeZone) answer(reply *dns.Msg, name string) {
	qtype, exists := reply.Question[0].Qtype, false
	for name != "" {
		records, known := z.records[name]
		exists, name = exists || known, ""
		for _, rr := range records {
			if cname, ok := rr.(*dns.CNAME); ok {
				name = cname.Target
			}
			if t := rr.Header().Rrtype; t == qtype || t == dns.TypeCNAME {
				reply.Answer = append(reply.Answer, dns.Copy(rr))
			}
		}
	}
	if len(reply.Answer) == 0 {
		reply.Ns = []dns.RR{z.soa}
		if !exists {
			reply.Rcode = dns.RcodeNameError
		}
	}
}

// echo is what the query looked like.
func echo(query *dns.Msg) dns.RR {
	text := []string{"opt=none"}
	if opt := query.IsEdns0(); opt != nil {
		text = []string{fmt.Sprintf("opt=%d do=%t", opt.UDPSize(), opt.Do())}
		for _, o := range opt.Option {
			if local, ok := o.(*dns.EDNS0_LOCAL); ok {
				text = append(text, fmt.Sprintf("local=%d:%x", local.Code, local.Data))
			}
		}
	}
	text = append(text, fmt.Sprintf("rd=%t", query.RecursionDesired))
	header := dns.RR_Header{Name: query.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 30}
	return &dns.TXT{Hdr: header, Txt: text}
}

// condition is that of a line.
type condition int

const (
	whole   condition = iota
	cut               // connections end, and none is made
	hanging           // nothing moves, but connections are made
)

// line is a TCP connection to an address that can be cut.
type line struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	now   condition
	moved *sync.Cond
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

func startLine(t *testing.T, to string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{listener: listener, to: to, conns: map[net.Conn]struct{}{}}
	l.moved = sync.NewCond(&l.mu)
	l.wg.Go(l.accept)
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		l.set(cut)
		l.wg.Wait()
	})
	return l
}

func (l *line) addr() string { return l.listener.Addr().String() }

func (l *line) set(s condition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = s
	if s == cut {
		for conn := range l.conns {
			_ = conn.Close() // it is to break
		}
	}
	l.moved.Broadcast()
}

func (l *line) accept() {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				panic(err)
			}
			return
		}
		l.wg.Go(func() { l.connect(conn) })
	}
}

// keep notes an open connection, which a cut closes; it returns false while the line is cut.
func (l *line) keep(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[conn] = struct{}{}
	return l.now != cut
}

func (l *line) connect(conn net.Conn) {
	defer conn.Close()
	if !l.keep(conn) {
		return
	}
	far, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer far.Close()
	if !l.keep(far) {
		return
	}
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{conn, far}, {far, conn}} {
		wg.Go(func() {
			_, _ = io.Copy(slow{way[1], l}, way[0]) // what broke it does not matter
			_, _ = conn.Close(), far.Close()
		})
	}
	wg.Wait()
}

// slow writes only while the line does not hang.
type slow struct {
	net.Conn
	line *line
}

func (s slow) Write(p []byte) (int, error) {
	s.line.mu.Lock()
	for s.line.now == hanging {
		s.line.moved.Wait()
	}
	s.line.mu.Unlock()
	return s.Conn.Write(p)
}
