package skydns

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/alecthomas/kong"
)

func parse(t *testing.T, args ...string) (Settings, error) {
	t.Helper()
	var s Settings
	parser, err := kong.New(&s, kong.Vars{"http_addr": "127.0.0.1:4004", "version": "test"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(args)
	return s, err
}

func TestDefaultsNeedNothing(t *testing.T) {
	t.Setenv("HOST_IP", "10.0.0.7")
	s, err := parse(t)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.config()
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.Listen); got != "[10.0.0.7:53 dokkaa:53]" {
		t.Errorf("listens on %s", got)
	}
	if c.Answer.Domain != "skydns.local." || c.PathPrefix != "skydns" || c.Answer.TTL != 3600 || c.Answer.MinTTL != 60 || c.Answer.Priority != 10 {
		t.Errorf("config %+v", c)
	}
	if !slices.Equal(s.Machines, []string{"http://127.0.0.1:4001"}) {
		t.Errorf("etcd at %v", s.Machines)
	}
}

func TestSettingsFromTheEnvironment(t *testing.T) {
	t.Setenv("SKYDNS_ADDR", "127.0.0.1:5353,%dokkaa:53")
	t.Setenv("SKYDNS_DOMAIN", "Cluster.TEST")
	t.Setenv("SKYDNS_NAMESERVERS", "8.8.8.8:53,[2001:db8::1]:53")
	t.Setenv("SKYDNS_PATH_PREFIX", "/my/dns/")
	t.Setenv("ETCD_MACHINES", "http://a:4001,http://b:4001")
	s, err := parse(t)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.config()
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.Listen, c.Nameservers, s.Machines); got != "[127.0.0.1:5353 dokkaa:53] [8.8.8.8:53 [2001:db8::1]:53] [http://a:4001 http://b:4001]" {
		t.Errorf("got %s", got)
	}
	if c.Answer.Domain != "cluster.test." || c.PathPrefix != "my/dns" {
		t.Errorf("domain %q, prefix %q", c.Answer.Domain, c.PathPrefix)
	}
}

func TestSettingsThatCannotWork(t *testing.T) {
	for _, arg := range []string{
		"--addr=:53", "--addr=10.0.0.1", "--nameservers=8.8.8.8", "--nameservers=dns.example:53",
		"--domain=bad..name", "--domain=.", "--path-prefix=/", "--host-ip=",
	} {
		if _, err := parse(t, arg); err == nil {
			t.Errorf("%s is accepted", arg)
		}
	}
}

func TestNeverRecursingHasNoNameservers(t *testing.T) {
	s, err := parse(t, "--no-rec", "--nameservers=8.8.8.8:53")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := s.config(); err != nil || c.Nameservers != nil || c.Recursion != nil {
		t.Errorf("nameservers %v for %v, %v", c.Nameservers, c.Recursion, err)
	}
}

func TestSystemNameservers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("search example.org\nnameserver 10.0.0.53\nnameserver fd00::53\nnameserver junk\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.53:53"), netip.MustParseAddrPort("[fd00::53]:53")}
	if got := systemNameservers(file); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := systemNameservers(file + ".missing"); got != nil {
		t.Errorf("without a file: %v", got)
	}
}

func TestSettingsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/skydns.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range (Settings{}).list() {
		if !bytes.Contains(doc, []byte("`--"+setting.name+"`")) {
			t.Errorf("docs/skydns.md lacks --%s", setting.name)
		}
	}
}
