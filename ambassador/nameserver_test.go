package ambassador

import (
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/dokkaa/dokkaa/ambassador/backend"
)

// fakeDNS is a name server on a free port.
type fakeDNS struct {
	addr    string
	servers []*dns.Server

	mu        sync.Mutex
	records   map[string][]backend.Endpoint
	rcode     int
	truncate  bool // over UDP
	bare      bool // without additional records
	silent    bool
	questions int
}

func startDNS(t *testing.T) *fakeDNS {
	t.Helper()
	f := &fakeDNS{records: make(map[string][]backend.Endpoint)}
	var packets net.PacketConn
	var listener net.Listener
	eventually(t, func() (err error) { // the UDP port may be another's TCP port
		if packets, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			return err
		}
		f.addr = packets.LocalAddr().String()
		if listener, err = net.Listen("tcp", f.addr); err != nil {
			packets.Close()
		}
		return err
	})
	f.servers = []*dns.Server{{PacketConn: packets, Handler: f}, {Listener: listener, Handler: f}}
	var group sync.WaitGroup
	for _, server := range f.servers {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		group.Go(func() {
			if err := server.ActivateAndServe(); err != nil {
				t.Error(err)
			}
		})
		<-started
	}
	t.Cleanup(func() {
		f.stop()
		group.Wait()
	})
	return f
}

func (f *fakeDNS) stop() {
	for _, server := range f.servers {
		_ = server.Shutdown() // the second call of a test errs
	}
}

func (f *fakeDNS) set(name string, endpoints ...backend.Endpoint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.records[dns.Fqdn(name)] = endpoints
}

func (f *fakeDNS) change(change func(f *fakeDNS)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeDNS) asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.questions
}

// ServeDNS answers SRV questions from the records, and A questions for their targets.
func (f *fakeDNS) ServeDNS(w dns.ResponseWriter, question *dns.Msg) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.questions++
	if f.silent {
		return
	}
	reply := new(dns.Msg)
	reply.SetRcode(question, f.rcode)
	q := question.Question[0]
	endpoints, ok := f.records[q.Name]
	_, udp := w.RemoteAddr().(*net.UDPAddr)
	switch {
	case f.rcode != dns.RcodeSuccess:
	case q.Qtype == dns.TypeA:
		reply.Answer = append(reply.Answer, addressRecord(q.Name))
	case !ok:
		reply.Rcode = dns.RcodeNameError
	case udp && f.truncate:
		reply.Truncated = true
	default:
		for _, e := range endpoints {
			target := strings.ReplaceAll(e.Addr.Addr().String(), ".", "-") + ".Hosts.test."
			reply.Answer = append(reply.Answer, &dns.SRV{
				Hdr:      dns.RR_Header{Name: q.Name, Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: 5},
				Priority: e.Priority, Weight: e.Weight, Port: e.Addr.Port(), Target: target,
			})
			if !f.bare {
				reply.Extra = append(reply.Extra, addressRecord(strings.ToLower(target)))
			}
		}
	}
	_ = w.WriteMsg(reply) // the other side may have gone
}

func addressRecord(name string) dns.RR {
	label := strings.SplitN(name, ".", 2)[0]
	if strings.Contains(label, ":") {
		return &dns.AAAA{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeAAAA, Class: dns.ClassINET, Ttl: 5}, AAAA: net.ParseIP(label)}
	}
	ip := strings.ReplaceAll(label, "-", ".")
	return &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 5}, A: net.ParseIP(ip)}
}
