package skydns

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"
)

// instances is n instances of the service web.
func instances(n int) map[string]string {
	values := map[string]string{}
	for i := range n {
		values[fmt.Sprintf("big/web/i%d", i)] = fmt.Sprintf(`{"host":"10.40.%d.%d","port":%d}`, i/250, i%250+1, 10000+i)
	}
	return values
}

func TestReplyFitsTheClient(t *testing.T) {
	for _, c := range []struct {
		title     string
		instances int
		network   string
		edns      uint16 // 0: none
		limit     int
		answers   int // -1: some
		extra     int // -1: some
		truncated bool
	}{
		{"all of it", 8, "udp", 0, 512, 8, 8, false},
		{"the additional section gives way first", 10, "udp", 0, 512, 10, 0, false},
		{"then the answers, which TC says", 40, "udp", 0, 512, -1, 0, true},
		{"less than 512 counts as 512", 6, "udp", 100, 512, 6, 6, false},
		{"the client's size", 40, "udp", 4096, 4096, 40, 40, false},
		{"the client's size is not enough", 40, "udp", 1232, 1232, -1, 0, true},
		{"more than the server sends", 400, "udp", 65000, 4096, -1, 0, true},
		{"TCP", 40, "tcp", 0, 65535, 40, 40, false},
		{"TCP, many", 600, "tcp", 0, 65535, 600, -1, false},
		{"TCP, too many", 3000, "tcp", 0, 65535, -1, 0, true},
	} {
		t.Run(c.title, func(t *testing.T) {
			_, _, addr := serve(t, testConfig(), instances(c.instances))
			query := question("web.big.skydns.local.", dns.TypeSRV)
			if c.edns != 0 {
				query.SetEdns0(c.edns, true)
			}
			reply := exchange(t, c.network, addr, query)
			reply.Compress = true
			if size := reply.Len(); size > c.limit {
				t.Errorf("%d bytes, limit is %d", size, c.limit)
			}
			opt := reply.IsEdns0()
			if (opt != nil) != (c.edns != 0) {
				t.Errorf("OPT: %v", opt)
			}
			extra := len(reply.Extra)
			if opt != nil {
				extra--
				if !opt.Do() {
					t.Error("the DO bit was lost")
				}
			}
			if reply.Truncated != c.truncated {
				t.Errorf("TC %v, want %v", reply.Truncated, c.truncated)
			}
			if c.answers >= 0 && len(reply.Answer) != c.answers || len(reply.Answer) == 0 {
				t.Errorf("%d answers, want %d", len(reply.Answer), c.answers)
			}
			if c.extra >= 0 && extra != c.extra {
				t.Errorf("%d additional records, want %d", extra, c.extra)
			}
		})
	}
}
