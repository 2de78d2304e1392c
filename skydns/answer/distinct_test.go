package answer

import (
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// Few records are compared each with each, many by their contents: with the same result.
func TestRepeatedRecordsAreRemoved(t *testing.T) {
	var records []dns.RR
	for _, line := range []string{
		"a.x. 1 IN A 10.0.0.1", "A.x. 2 IN A 10.0.0.1", "a.x. 1 IN A 10.0.0.2", "b.x. 1 IN A 10.0.0.1",
		"a.x. 1 IN AAAA ::1", "a.x. 1 IN AAAA ::2", "a.x. 1 IN SRV 1 2 3 t.x.", "a.x. 1 IN SRV 1 2 3 T.x.", "a.x. 1 IN SRV 1 2 4 t.x.",
		"a.x. 1 IN SRV 1 3 3 t.x.", "a.x. 1 IN SRV 2 2 3 t.x.", "a.x. 1 IN MX 1 t.x.", "a.x. 1 IN MX 2 t.x.", "a.x. 1 IN CNAME t.x.",
		"a.x. 1 IN NS t.x.", "a.x. 1 IN NS u.x.", `a.x. 1 IN TXT "ab" "c"`, `a.x. 1 IN TXT "a" "bc"`, `a.x. 1 IN TXT "ab" "c"`,
	} {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, rr)
	}
	want := distinctFew(slices.Clone(records))
	if len(want) != len(records)-3 {
		t.Errorf("%d of %d are distinct", len(want), len(records))
	}
	if got := distinct(slices.Clone(records)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
