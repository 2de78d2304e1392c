package dokkaacfg

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/dokkaacfg/digitalocean"
	"github.com/dokkaa/dokkaa/dokkaacfg/hosting"
	"github.com/dokkaa/dokkaa/internal/digitaloceantest"
)

// digitalOcean is an account that the command line reaches over the network, as it does the true
// one.
type digitalOcean struct {
	*testing.T
	*digitaloceantest.API
}

func newDigitalOcean(t *testing.T) digitalOcean {
	api := digitaloceantest.New(t)
	api.AddKey("laptop", "ssh-ed25519 AAAA laptop")
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	t.Setenv("DIGITALOCEAN_ACCESS_TOKEN", digitaloceantest.Token)
	t.Setenv("DIGITALOCEAN_API_URL", server.URL)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	return digitalOcean{t, api}
}

// run runs a command on cluster web and returns what it says and its exit code.
func (d digitalOcean) run(input string, args ...string) (says string, code int) {
	var out strings.Builder
	args = append([]string{"--provider=digitalocean", "--cluster=web", "--state-dir=" + d.TempDir()}, args...)
	code = Main(d.Context(), args, strings.NewReader(input), &out, &out)
	return out.String(), code
}

func TestPlanOfDroplets(t *testing.T) {
	d := newDigitalOcean(t)
	says, code := d.run("", "up", "--plan", "--scale=2", "--ssh_key=laptop", "--size=s-1vcpu-1gb", "--ssh-from=198.51.100.7", "--ssh-from=192.0.2.9/24", "--web")
	const want = `Cluster web: droplets at DigitalOcean.
A MONTH   TO BE MADE
          VPC dokkaa-web in nyc3
          firewall dokkaa-web: port 22 from 198.51.100.7/32, 192.0.2.0/24; 80 and 443 from everywhere; all between the hosts; nothing else in
6.00 USD  host web-1: s-1vcpu-1gb (1 vCPU, 1 GiB memory, 25 GB disk) in nyc3 with ubuntu-24-04-x64
6.00 USD  host web-2: s-1vcpu-1gb (1 vCPU, 1 GiB memory, 25 GB disk) in nyc3 with ubuntu-24-04-x64
All of it costs 12.00 USD a month. Nothing was made.
`
	if code != 0 || says != want {
		t.Errorf("exit code %d:\n%s", code, says)
	}
	if len(d.Droplets())+len(d.Firewalls()) != 0 {
		t.Error("something was made")
	}
}

func TestDownOfDroplets(t *testing.T) {
	d := newDigitalOcean(t)
	p, err := digitalocean.New(digitalocean.Options{
		Cluster: "web", Token: digitaloceantest.Token, KeyName: "laptop", Client: d.Client(),
		SSHFrom: []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32")},
	})
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := p.Make(t.Context(), 2, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	d.AddVolume("data", "web-1", "dokkaa:web")
	d.AddVolume("photos", "web-2")
	says, code := d.run("wep\n", "down")
	if code != 1 || !strings.Contains(says, `nothing was changed: "wep" is not "web"`) || len(d.Droplets()) != 2 {
		t.Errorf("with a wrong name, exit code %d:\n%s", code, says)
	}
	says, code = d.run("web\n", "down")
	want := fmt.Sprintf(`Cluster web: droplets at DigitalOcean.
Its hosts, with all their containers and data: %s, %s
To be removed:
  host web-1 (%s)
  host web-2 (%s)
  volume data of 10 GiB, with its data
  firewall dokkaa-web
  VPC dokkaa-web
Not removed:
  volume photos of 10 GiB: it is attached to web-2, but has not the tag dokkaa:web
Type the cluster's name to go on:    removed (`, hosts[0].Private, hosts[1].Private, hosts[0].SSH.Addr(), hosts[1].SSH.Addr())
	if code != 0 || !strings.HasPrefix(says, want) {
		t.Errorf("exit code %d:\n%s\nwant\n%s", code, says, want)
	}
	if len(d.Droplets())+len(d.Firewalls())+len(d.Tags()) != 0 || len(d.VPCs()) != 2 || len(d.Volumes()) != 1 {
		t.Errorf("there is still %v, %v, %v, %v, %v", d.Droplets(), d.Firewalls(), d.Tags(), d.VPCs(), d.Volumes())
	}
	if says, code = d.run("", "down"); code != 0 || says != "There is nothing of cluster web.\n" {
		t.Errorf("again, exit code %d: %s", code, says)
	}
}

// A host is reached where it is now, though it had no address before, or another machine had its name.
func TestHostsChange(t *testing.T) {
	h := newHosted(nil, "digitalocean", "hosts of a test", t.TempDir(), 9, slog.New(slog.DiscardHandler))
	defer h.close()
	is := hosting.Host{Name: "web-1", ID: "droplet-1", User: "root"}
	for _, address := range []string{"192.0.2.1:22", "192.0.2.2:22"} {
		before := h.asHosts([]hosting.Host{is})[0].(hostedHost).remote
		is.SSH = netip.MustParseAddrPort(address)
		after := h.asHosts([]hosting.Host{is})[0].(hostedHost).remote
		if after == before || after.Address() != address {
			t.Errorf("it is at %s, want %s", after.Address(), address)
		}
		if again := h.asHosts([]hosting.Host{is})[0].(hostedHost).remote; again != after {
			t.Error("it is connected to anew though nothing has changed")
		}
	}
}

func TestPlanOfWhatCostsNothing(t *testing.T) {
	s, _ := newSession(t, &fakeProvider{}, "")
	err := (&upCommand{Plan: true}).Run(t.Context(), s)
	if err == nil || !strings.Contains(err.Error(), "hosts that cost something; these are hosts of a test") {
		t.Errorf("it says %v", err)
	}
}

func TestDropletsAskedForWrongly(t *testing.T) {
	tests := map[string]struct {
		args []string
		code int
		says string
	}{
		"no key":      {[]string{"--scale=1"}, 1, "the account has laptop"},
		"other key":   {[]string{"--scale=1", "--ssh-key=desktop"}, 1, `no SSH key named "desktop"; the account has laptop`},
		"too many":    {[]string{"--scale=101"}, 2, "there can be 1 to 100 hosts here: droplets at DigitalOcean"},
		"bad network": {[]string{"--ssh-from=home"}, 2, "--ssh-from"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := newDigitalOcean(t)
			says, code := d.run("", append([]string{"up", "--plan", "--ssh-from=198.51.100.7"}, test.args...)...)
			if code != test.code || !strings.Contains(says, test.says) {
				t.Errorf("exit code %d: %s; want %d and %q", code, says, test.code, test.says)
			}
		})
	}
}

func TestDropletsWithoutToken(t *testing.T) {
	d := newDigitalOcean(t)
	t.Setenv("DIGITALOCEAN_ACCESS_TOKEN", "")
	says, code := d.run("", "down")
	if code != 2 || !strings.Contains(says, "set DIGITALOCEAN_ACCESS_TOKEN, or write it to ") || !strings.Contains(says, "/.config/dokkaa/digitalocean-token with mode 0600") {
		t.Errorf("exit code %d: %s", code, says)
	}
}
