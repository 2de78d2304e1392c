package dokkaacfg

import (
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/dokkaacfg/hosting"
)

// What up was told once it need not be told again, and a cluster is found by its name.
func TestContext(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("DIGITALOCEAN_ACCESS_TOKEN", "x")
	keep := filepath.Join(home, ".config/dokkaa/web")
	choose := func(change func(*commandLine)) (*hosted, error) {
		line := commandLine{Cluster: "web"}
		change(&line)
		if err := line.findProvider(); err != nil {
			t.Fatal(err)
		}
		p, err := chooseProvider(line, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, err
		}
		return p.(*hosted), nil
	}
	office, home2 := netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.7/32")
	yes, no := true, false
	for _, step := range []struct {
		name   string
		change func(*commandLine)
		want   clusterContext
	}{
		{"the first", func(c *commandLine) { c.Provider = "digitalocean"; c.DigitalOcean.SSHFrom = []netip.Prefix{home2} },
			clusterContext{Provider: "digitalocean", SSHFrom: []netip.Prefix{home2}}},
		{"by its name", func(*commandLine) {}, clusterContext{Provider: "digitalocean", SSHFrom: []netip.Prefix{home2}}},
		{"opened", func(c *commandLine) { c.Doors.openKeys = prefixes{office}; c.Doors.web = &yes },
			clusterContext{Provider: "digitalocean", OpenKeys: []netip.Prefix{office}, SSHFrom: []netip.Prefix{home2}, Web: true}},
		{"as it was", func(*commandLine) {},
			clusterContext{Provider: "digitalocean", OpenKeys: []netip.Prefix{office}, SSHFrom: []netip.Prefix{home2}, Web: true}},
		{"closed", func(c *commandLine) { c.Doors.close = true; c.Doors.web = &no }, clusterContext{Provider: "digitalocean", SSHFrom: []netip.Prefix{home2}}},
	} {
		h, err := choose(step.change)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if asJSON(h.context) != asJSON(step.want) {
			t.Errorf("%s: %s, want %s", step.name, asJSON(h.context), asJSON(step.want))
		}
		if err := h.context.write(h.keep); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(filepath.Join(keep, contextFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	for says, change := range map[string]func(*commandLine){
		"cluster web is of provider digitalocean, not ssh": func(c *commandLine) { c.Provider = "ssh" },
		"takes --open-keys-to-the-world":                   func(c *commandLine) { c.Doors.openKeys = prefixes{netip.MustParsePrefix("0.0.0.0/0")} },
		"one of them":                                      func(c *commandLine) { c.Doors.openKeys, c.Doors.close = prefixes{office}, true },
	} {
		if _, err := choose(change); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	if _, err := choose(func(c *commandLine) {
		c.Doors.openKeys, c.Doors.openToWorld = prefixes{netip.MustParsePrefix("0.0.0.0/0")}, true
	}); err != nil {
		t.Error(err)
	}
}

func TestCurlLine(t *testing.T) {
	far := hostedHost{Host: hosting.Host{User: "ann", SSH: netip.MustParseAddrPort("198.51.100.1:2222"), Private: netip.MustParseAddr("10.0.0.1"), KeyFile: "/home/ann/a key"}}
	near := fakeHost(netip.MustParseAddr("10.101.0.1"))
	secure := doors{authorities: "/home/ann/web"}
	var err error
	if secure.keys, secure.etcd, err = newTestAuthorities(t).Operator(now()); err != nil {
		t.Fatal(err)
	}
	open := secure
	open.open = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	put := curlCommand{Key: "/apps/a/b/manifest", Options: []string{"-XPUT", "--data-urlencode", "value={\"it's\": 1}"}}
	for want, got := range map[string]string{
		`curl -L http://10.101.0.1:4001/v2/keys/apps`:                                                                                                                      (&curlCommand{Key: "apps"}).line(near, doors{}),
		`ssh -i '/home/ann/a key' -p 2222 ann@198.51.100.1 'curl -L http://127.0.0.1:4001/v2/keys/apps'`:                                                                   (&curlCommand{Key: "/apps"}).line(far, secure),
		`curl -L --cert /home/ann/web/operator.pem --key /home/ann/web/operator.pem --cacert /home/ann/web/ca.pem 'https://198.51.100.1:4001/v2/keys/apps?recursive=true'`: (&curlCommand{Key: "/apps?recursive=true"}).line(far, open),
	} {
		if got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	// Two shells make of it what was meant.
	line := strings.Replace(put.line(far, secure), "ssh -i '/home/ann/a key' -p 2222 ann@198.51.100.1", "sh -c", 1)
	line = strings.Replace(line, "curl -L", "printf %s,", 1)
	out, err := exec.CommandContext(t.Context(), "sh", "-c", line).CombinedOutput()
	if want := `-XPUT,--data-urlencode,value={"it's": 1},http://127.0.0.1:4001/v2/keys/apps/a/b/manifest,`; err != nil || string(out) != want {
		t.Errorf("%s, %v; want %s", out, err, want)
	}
}
