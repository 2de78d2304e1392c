package placement

import (
	"testing"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// TestMapForgets takes back all that was ever said: nothing may stay, for years.
func TestMapForgets(t *testing.T) {
	m := NewMap()
	d := NewDemand(state.Ref{App: "app", Name: "web"}, &manifest.Manifest{
		Near: []string{"db"}, Apart: []string{"noisy"}, Services: map[string]manifest.Service{"web": {Port: 80, HostPort: 80}},
	})
	ips := []string{"10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3"} // the last is not known
	hosts := map[string]Host{"10.0.0.1": {}, "10.0.0.2": {}, "10.0.0.4": {}}
	m.SetHosts(hosts)
	for _, ip := range ips {
		m.Add(d, ip)
	}
	m.SetHosts(nil)
	if len(m.hosts) != 3 || len(m.open) != 0 {
		t.Errorf("what is on hosts that left is not counted: %v", m.hosts)
	}
	for _, ip := range ips {
		m.Remove(d, ip)
	}
	m.Remove(d, "10.0.0.1") // it is not there, and nothing happens
	if len(m.hosts)+len(m.open)+len(m.containers)+len(m.doubled) > 0 || len(m.free) != 4 {
		t.Errorf("%d hosts, %d containers and %d doubled ones stay, %d indexes are free",
			len(m.hosts), len(m.containers), len(m.doubled), len(m.free))
	}
	m.SetHosts(hosts)
	if len(m.free) != 1 {
		t.Errorf("%d indexes are free after three hosts came back", len(m.free))
	}
}

// TestTastesAreBounded asks for more than are kept.
func TestTastesAreBounded(t *testing.T) {
	m := NewMap()
	m.SetHosts(map[string]Host{"10.0.0.1": {Labels: map[string]string{"n": "7"}}})
	for i := range 2*maxTastes + 1 {
		d := NewDemand(state.Ref{App: "app", Name: "web"}, &manifest.Manifest{
			Constraints: []manifest.Condition{{Attribute: "host.labels.n", Operator: manifest.Less, Value: string(rune('0'+i%10)) + string(rune('a'+i/10))}},
		})
		m.Pick(d, Options{})
	}
	if len(m.tastes) > maxTastes {
		t.Errorf("%d tastes are kept", len(m.tastes))
	}
}
