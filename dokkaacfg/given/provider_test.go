package given

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/dokkaacfg/hosting"
)

func TestParseAddress(t *testing.T) {
	private := netip.MustParseAddr("10.0.0.5")
	for text, want := range map[string]Address{
		"192.0.2.1":                     {User: "root", Name: "192.0.2.1", Port: 22},
		"ann@web":                       {User: "ann", Name: "web", Port: 22},
		"ann@web:2222=10.0.0.5":         {User: "ann", Name: "web", Port: 2222, Private: private},
		"web=10.0.0.5":                  {User: "root", Name: "web", Port: 22, Private: private},
		"":                              {},
		"@web":                          {},
		"web:0":                         {},
		"web:ssh":                       {},
		"web=name":                      {},
		"web=fd00::1":                   {},
		"ann@web@other":                 {},
		"-oProxyCommand=true":           {},
		"root@192.0.2.1,root@192.0.2.2": {},
	} {
		got, err := ParseAddress(text)
		if want.Name == "" {
			if err == nil {
				t.Errorf("%q is taken for %+v", text, got)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, want)
		}
	}
}

// hosts makes the provider with the addresses, and with what it remembers.
func hosts(t *testing.T, file string, scale int, texts ...string) ([]hosting.Host, error) {
	t.Helper()
	var more []Address
	for _, text := range texts {
		address, err := ParseAddress(text)
		if err != nil {
			t.Fatal(err)
		}
		more = append(more, address)
	}
	return New(file, more).Make(t.Context(), scale, nil)
}

func TestHostsAreRemembered(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cluster", "hosts.json")
	if _, err := hosts(t, file, 1); err == nil || !strings.Contains(err.Error(), "--host=") {
		t.Errorf("no hosts: %v", err)
	}
	if _, err := hosts(t, file, 2, "192.0.2.1"); err == nil {
		t.Error("one host is enough for two")
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("hosts are remembered that were not taken")
	}
	if _, err := hosts(t, file, 1, "192.0.2.1=10.0.0.1"); err != nil {
		t.Fatal(err)
	}
	all, err := hosts(t, file, 2, "192.0.2.2", "ann@192.0.2.1:2222")
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	if got := all[0]; got.User != "ann" || got.SSH != netip.MustParseAddrPort("192.0.2.1:2222") || got.Private != netip.MustParseAddr("10.0.0.1") {
		t.Errorf("the first is %+v", got)
	}
	for _, wrong := range []string{"192.0.2.1=10.0.0.9", "192.0.2.3=10.0.0.1"} {
		if _, err := hosts(t, file, 1, wrong); err == nil {
			t.Errorf("%s is taken beside %+v", wrong, all)
		}
	}
	p := New(file, nil)
	if err := p.Remove(t.Context(), "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	left, err := p.List(t.Context())
	if err != nil || len(left.Hosts) != 1 || left.Hosts[0].Name != "192.0.2.2" {
		t.Errorf("left: %+v, %v", left, err)
	}
	for range 2 {
		if err := p.RemoveAll(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
