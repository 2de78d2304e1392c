package wire

import (
	"testing"

	"github.com/miekg/dns"
)

func packed(t testing.TB, msg *dns.Msg) []byte {
	t.Helper()
	packet, err := msg.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

func TestQuery(t *testing.T) {
	plain := new(dns.Msg).SetQuestion("a.example.", dns.TypeA)
	none := new(dns.Msg)
	none.Id = 7
	notify := plain.Copy()
	notify.Opcode = dns.OpcodeUpdate
	if query, refusal := Query(packed(t, plain)); query == nil || refusal != nil || query.Question[0] != plain.Question[0] {
		t.Errorf("a query: %v, %v", query, refusal)
	}
	for title, c := range map[string]struct {
		packet []byte
		rcode  int
	}{
		"no question":    {packed(t, none), dns.RcodeFormatError},
		"another opcode": {packed(t, notify), dns.RcodeNotImplemented},
		"cut off":        {packed(t, plain)[:20], dns.RcodeFormatError},
	} {
		query, refusal := Query(c.packet)
		if query != nil || refusal == nil || refusal.Rcode != c.rcode || !refusal.Response {
			t.Errorf("%s: %v, %v", title, query, refusal)
		}
	}
	reply := new(dns.Msg).SetReply(plain)
	for title, packet := range map[string][]byte{"a reply": packed(t, reply), "half a header": packed(t, plain)[:11], "nothing": nil} {
		if query, refusal := Query(packet); query != nil || refusal != nil {
			t.Errorf("%s: %v, %v", title, query, refusal)
		}
	}
}

func FuzzQuery(f *testing.F) {
	f.Add(packed(f, new(dns.Msg).SetQuestion("a.example.", dns.TypeA).SetEdns0(1232, true)))
	f.Add(packed(f, new(dns.Msg)))
	f.Fuzz(func(t *testing.T, packet []byte) {
		_, refusal := Query(packet)
		if refusal == nil {
			return
		}
		if sent := packed(t, refusal); len(sent) > len(packet) {
			t.Errorf("%d bytes in reply to %d", len(sent), len(packet))
		}
	})
}
