package skydns

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/skydns/msg"
	"github.com/miekg/dns"
)

// The whole way: what is written to a real etcd is answered, and goes on being answered while
// etcd is away.
func TestRecordsOfEtcd(t *testing.T) {
	cluster := etcdtest.Start(t, 1)
	st, err := store.New(store.Options{Endpoints: cluster.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	key := func(name string) string { return msg.Key("skydns", name+".skydns.local.") }
	set := func(name, value string, ttl time.Duration) {
		t.Helper()
		if _, err := st.Set(t.Context(), key(name), value, ttl); err != nil {
			t.Fatal(err)
		}
	}
	set("i1.web.shop", `{"host":"10.0.0.1","port":49153,"ttl":5}`, 0)

	s := newServer(t, testConfig(), st.NewMirrorWithDirs("/skydns"))
	run(t, s)
	eventually(t, s.Ready)
	addr := s.Addrs()[0].String()
	answers := func(name string, n int) {
		t.Helper()
		eventually(t, func() error {
			reply := ask(t, addr, name+".skydns.local.", dns.TypeSRV)
			if len(reply.Answer) != n || n == 0 && reply.Rcode != dns.RcodeNameError {
				return fmt.Errorf("%s: %s with %d answers, want %d", name, dns.RcodeToString[reply.Rcode], len(reply.Answer), n)
			}
			return nil
		})
	}
	answers("web.shop", 1)
	set("i2.web.shop", `{"host":"10.0.0.2","port":49154,"ttl":5}`, 0)
	answers("web.shop", 2)

	set("leased.shop", `{"host":"10.0.0.3","port":80}`, 2*time.Second)
	answers("leased.shop", 1)
	if ttl := ask(t, addr, "leased.shop.skydns.local.", dns.TypeA).Answer[0].Header().Ttl; ttl < 1 || ttl > 2 {
		t.Errorf("TTL of a key with 2 s to live is %d", ttl)
	}
	answers("leased.shop", 0)

	cluster.Member(0).Kill()
	eventually(t, func() error {
		if s.records.Load().known {
			return errors.New("outage not noticed")
		}
		return nil
	})
	answers("web.shop", 2)
	answers("api.shop", 0)
	cluster.Member(0).Restart()
	eventually(t, func() error {
		if !s.records.Load().known {
			return errors.New("return not noticed")
		}
		return nil
	})
	set("i3.web.shop", `{"host":"10.0.0.3","port":49155}`, 0)
	answers("web.shop", 3)
}
