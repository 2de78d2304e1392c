package skydns

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/miekg/dns"
)

// A storm of changes starves nobody who asks: each reply comes, is that of one moment, and is no
// older than the changes before it; and the last change shows at once.
func TestQueriesInAStormOfChanges(t *testing.T) {
	const perSecond, changes = 10_000, 10_000
	value := func(n int) string { return fmt.Sprintf(`{"host":"10.0.%d.%d","port":%d}`, n>>8&255, n&255, n) }
	// Both instances are written at once, so that no reply has a new one and an old one.
	both := func(n int) map[string]string { return map[string]string{"web/a": value(n), "web/b": value(n + 1)} }
	_, source, addr := serve(t, testConfig(), both(0))

	var stop atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			client := dns.Client{Timeout: 5 * time.Second}
			conn, err := client.Dial(addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			asked, last := 0, 0
			for ; stop.Load() == 0; asked++ {
				reply, _, err := client.ExchangeWithConn(question("web.skydns.local.", dns.TypeSRV), conn)
				if err != nil || len(reply.Answer) != 2 || len(reply.Extra) != 2 {
					t.Errorf("no proper reply: %v\n%s", err, reply)
					return
				}
				a, b := int(reply.Answer[0].(*dns.SRV).Port), int(reply.Answer[1].(*dns.SRV).Port)
				if older := min(a, b); a+b != 2*older+1 || older < last {
					t.Errorf("reply of changes %d and %d after one of %d", a, b, last)
					return
				}
				last = min(a, b)
			}
			t.Logf("%d queries were answered during the storm", asked)
			if asked < 100 {
				t.Errorf("only %d queries were answered", asked)
			}
		})
	}
	start := time.Now()
	for n := 1; n <= changes; n++ {
		source.change(func(s *store.Snapshot) { *s = store.NewSnapshot(uint64(n)+1, storeNodes(both(n), uint64(n)+1)...) })
		if ahead := time.Duration(n)*time.Second/perSecond - time.Since(start); ahead > time.Millisecond {
			time.Sleep(ahead)
		}
	}
	took := time.Since(start)
	eventually(t, func() error {
		reply := ask(t, addr, "b.web.skydns.local.", dns.TypeSRV)
		if port := reply.Answer[0].(*dns.SRV).Port; port != changes+1 {
			return fmt.Errorf("port %d after the last change", port)
		}
		return nil
	})
	t.Logf("%d changes took %v, and showed %v later", changes, took.Round(time.Millisecond), (time.Since(start) - took).Round(time.Microsecond))
	stop.Store(1)
	wg.Wait()
}
