package skydns

import (
	"fmt"
	"testing"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
	"github.com/miekg/dns"
)

// What changes in etcd is taken over while the server runs, unless it makes no sense.
func TestSettingsInEtcdChange(t *testing.T) {
	s := &scenario{setup: map[string][]string{"args": {"--lame-duck=0s"}}}
	g := startStage(t, s, etcdtest.Start(t, 1).Endpoints()[0], "changing")
	answered := func(name string, rcode int, ttl uint32) {
		t.Helper()
		eventually(t, func() error {
			reply, _, err := new(dns.Client).Exchange(question(name, dns.TypeA), g.addr())
			if err != nil {
				return err
			}
			if reply.Rcode != rcode || len(reply.Answer) > 0 && reply.Answer[0].Header().Ttl != ttl {
				return fmt.Errorf("%s: %s, want TTL %d", name, reply, ttl)
			}
			return nil
		})
	}
	g.put("/skydns/local/skydns/a", `{"host":"10.0.0.1"}`, 0)
	answered("a.skydns.local.", dns.RcodeSuccess, 3600)
	first := g.server.server.Load()

	g.put("/skydns/config", `{"ttl":120}`, 0)
	answered("a.skydns.local.", dns.RcodeSuccess, 120)
	second := g.server.server.Load()
	if second == first {
		t.Error("the server is still the first one")
	}

	g.settle(g.put("/skydns/config", `{"ttl":"1"}`, 0))
	g.settle(g.put("/skydns/config", `{"ttl":120, "min_ttl":60}`, 0)) // the same
	g.settle(g.put("/skydns/local/skydns/b", `{"host":"10.0.0.2"}`, 0))
	answered("b.skydns.local.", dns.RcodeSuccess, 120)
	if g.server.server.Load() != second {
		t.Error("another server for the same settings")
	}
}
