package names

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dokkaa/dokkaa/ambassador/backend"
)

// listen has handle answer questions by UDP and TCP until the test ends, and returns the address.
func listen(t *testing.T, handle dns.HandlerFunc) client {
	t.Helper()
	var group sync.WaitGroup
	t.Cleanup(group.Wait)
	for range 100 { // the UDP port may be another's TCP port
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := packets.LocalAddr().String()
		listener, err := net.Listen("tcp", addr)
		if err != nil {
			packets.Close()
			continue
		}
		for _, server := range []*dns.Server{{PacketConn: packets, Handler: handle}, {Listener: listener, Handler: handle}} {
			started := make(chan struct{})
			server.NotifyStartedFunc = func() { close(started) }
			group.Go(func() {
				if err := server.ActivateAndServe(); err != nil {
					t.Error(err)
				}
			})
			<-started
			t.Cleanup(func() {
				if err := server.Shutdown(); err != nil {
					t.Error(err)
				}
			})
		}
		return client{func() (string, error) { return addr, nil }}
	}
	t.Fatal("no port")
	return client{}
}

// zone answers from records in the form of a zone file: of the asked name and type, with those of
// "additional" and "authority". Replies that do not fit are cut as a nameserver does it.
func zone(t *testing.T, records ...string) dns.HandlerFunc {
	t.Helper()
	var all []dns.RR
	for _, text := range records {
		record, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, record)
	}
	return func(w dns.ResponseWriter, question *dns.Msg) {
		reply := new(dns.Msg)
		reply.SetReply(question)
		q := question.Question[0]
		for _, record := range all {
			header := record.Header()
			switch {
			case strings.EqualFold(header.Name, q.Name) && header.Rrtype == q.Qtype:
				reply.Answer = append(reply.Answer, record)
			case q.Qtype == dns.TypeSRV && strings.HasPrefix(header.Name, "glued"):
				reply.Extra = append(reply.Extra, record)
			}
		}
		if len(reply.Answer) == 0 {
			if !slices.ContainsFunc(all, func(record dns.RR) bool { return strings.EqualFold(record.Header().Name, q.Name) }) {
				reply.Rcode = dns.RcodeNameError
			}
			for _, record := range all {
				if record.Header().Rrtype == dns.TypeSOA {
					reply.Ns = append(reply.Ns, record)
				}
			}
		}
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			reply.Truncate(int(question.IsEdns0().UDPSize()))
		}
		_ = w.WriteMsg(reply) // the other side may have gone
	}
}

func TestEveryFormOfAnswerIsRead(t *testing.T) {
	endpoint := func(addr string, priority, weight uint16) backend.Endpoint {
		return backend.Endpoint{Addr: netip.MustParseAddrPort(addr), Priority: priority, Weight: weight}
	}
	const srv = web + ". 5 SRV 10 50 32768 "
	for name, test := range map[string]struct {
		records []string
		want    []backend.Endpoint
		ttl     time.Duration
	}{
		"with addresses": {[]string{srv + "Glued.test.", "glued.test. 5 A 192.0.2.1", "glued.test. 5 AAAA 2001:db8::1"},
			[]backend.Endpoint{endpoint("192.0.2.1:32768", 10, 50), endpoint("[2001:db8::1]:32768", 10, 50)}, maxTTL},
		"without addresses": {[]string{srv + "Bare.test.", "bare.test. 5 A 192.0.2.1", "bare.test. 5 AAAA 2001:db8::1"},
			[]backend.Endpoint{endpoint("192.0.2.1:32768", 10, 50), endpoint("[2001:db8::1]:32768", 10, 50)}, maxTTL},
		"IPv6 only": {[]string{srv + "glued.test.", "glued.test. 5 AAAA 2001:db8::1"},
			[]backend.Endpoint{endpoint("[2001:db8::1]:32768", 10, 50)}, maxTTL},
		"two, of two priorities": {[]string{srv + "glued1.test.", web + ". 5 SRV 20 0 80 glued2.test.", "glued1.test. 5 A 192.0.2.1", "glued2.test. 5 A 192.0.2.2"},
			[]backend.Endpoint{endpoint("192.0.2.1:32768", 10, 50), endpoint("192.0.2.2:80", 20, 0)}, maxTTL},
		"what takes datagrams": {[]string{web + ". 5 SRV 10 50 53 glued.UDP." + web + ".", srv + "glued.test.", "glued.test. 5 A 192.0.2.1", "glued.udp." + web + ". 5 A 192.0.2.2"},
			[]backend.Endpoint{endpoint("192.0.2.1:32768", 10, 50)}, maxTTL},
		"a target without an address": {[]string{srv + "nowhere.test."}, nil, maxTTL},
		"a TTL of none":               {[]string{web + ". 0 SRV 10 50 80 glued.test.", "glued.test. 5 A 192.0.2.1"}, []backend.Endpoint{endpoint("192.0.2.1:80", 10, 50)}, 0},
		"an address's TTL of none":    {[]string{srv + "glued.test.", "glued.test. 0 A 192.0.2.1"}, []backend.Endpoint{endpoint("192.0.2.1:32768", 10, 50)}, 0},
		"no name":                     {[]string{"test. 60 SOA ns.test. root.test. 1 2 3 4 60"}, nil, maxTTL},
		"no endpoint":                 {[]string{web + ". 5 TXT here", "test. 60 SOA ns.test. root.test. 1 2 3 4 60"}, nil, maxTTL},
		"no name, not to be kept":     {[]string{"test. 60 SOA ns.test. root.test. 1 2 3 4 0"}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := listen(t, zone(t, test.records...)).ask(t.Context(), web)
			if want := (answer{test.want, test.ttl}); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, %v; want %+v", got, err, want)
			}
		})
	}
}

func TestALargeAnswerComesByTCP(t *testing.T) {
	var records []string
	for i := range 300 {
		records = append(records, fmt.Sprintf("%s. 5 SRV 10 100 80 glued%d.test.", web, i), fmt.Sprintf("glued%d.test. 5 A 10.0.%d.%d", i, i/200, i%200+1))
	}
	got, err := listen(t, zone(t, records...)).ask(t.Context(), web)
	if err != nil || len(got.endpoints) != 300 {
		t.Errorf("got %d endpoints, %v", len(got.endpoints), err)
	}
}

func TestARefusalToAnswerIsAnError(t *testing.T) {
	c := listen(t, func(w dns.ResponseWriter, question *dns.Msg) {
		_ = w.WriteMsg(new(dns.Msg).SetRcode(question, dns.RcodeServerFailure))
	})
	if _, err := c.ask(t.Context(), web); err == nil || err.Error() != "SERVFAIL" {
		t.Errorf("got %v", err)
	}
	silent := listen(t, func(dns.ResponseWriter, *dns.Msg) {})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var timeout net.Error
	if _, err := silent.ask(ctx, web); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("of one that is silent: %v", err)
	}
	unknown := errors.New("no address yet")
	if _, err := (client{func() (string, error) { return "", unknown }}).ask(t.Context(), web); !errors.Is(err, unknown) {
		t.Errorf("got %v", err)
	}
}
