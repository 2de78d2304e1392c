package agent

import (
	"maps"
	"slices"
	"testing"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// TestRecordsTellDatagramsFromConnections: TCP and UDP have ports of their own, and who is linked to
// the one must not be led to the other.
func TestRecordsTellDatagramsFromConnections(t *testing.T) {
	d := Desired{Spec: engine.Spec{Ref: refN, Instance: idA}, Services: map[string]manifest.Service{
		"dns":   {Port: 53, Protocol: "udp", Priority: 10, Weight: 100},
		"plain": {Port: 53, Protocol: "tcp", Priority: 10, Weight: 100},
		"later": {Port: 54, Protocol: "udp", Priority: 10, Weight: 100},
	}}
	got := records("10.0.0.1", d, engine.Container{Ports: map[engine.Port]int{engine.UDP(53): 32768, engine.TCP(53): 40000, engine.TCP(54): 40001}})
	want := map[string]string{
		"/skydns/local/skydns/dummy/dns/udp/" + idA: `{"host":"10.0.0.1","port":32768,"priority":10,"weight":100,"ttl":5}`,
		"/skydns/local/skydns/dummy/plain/" + idA:   `{"host":"10.0.0.1","port":40000,"priority":10,"weight":100,"ttl":5}`,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if !state.IsInstanceRecord(key) || recordOf(key) != idA {
			t.Errorf("%s is not known as a record of %s", key, idA)
		}
	}
	for _, key := range []string{"/skydns/local/skydns/dummy/dns/tcp/" + idA, "/skydns/local/skydns/dummy/dns/udp/mine", "/skydns/local/skydns/udp/" + idA} {
		if state.IsInstanceRecord(key) {
			t.Errorf("%s counts as an instance's", key)
		}
	}
}
