package digitalocean

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/dokkaacfg/hosting"
	"github.com/dokkaa/dokkaa/internal/digitaloceantest"
)

// cluster is one at a DigitalOcean of its own.
type cluster struct {
	api *digitaloceantest.API
	*Provider
}

// bubble runs a test in a bubble where waiting takes no time.
func bubble(t *testing.T, test func(t *testing.T, c cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		api := digitaloceantest.New(t)
		api.AddKey("laptop", "ssh-ed25519 AAAA laptop")
		test(t, open(t, api, nil))
	})
}

// open returns a provider for cluster web, as another run of the command has one.
func open(t *testing.T, api *digitaloceantest.API, change func(*Options)) cluster {
	t.Helper()
	o := Options{
		Cluster: "web", Token: digitaloceantest.Token, KeyName: "laptop", Region: "fra1", Client: api.Client(),
		OwnIP: func(context.Context) (netip.Addr, error) { return netip.MustParseAddr("198.51.100.7"), nil },
		Log:   slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if change != nil {
		change(&o)
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return cluster{api, p}
}

func (c cluster) mustMake(t *testing.T, scale int) []hosting.Host {
	t.Helper()
	hosts, err := c.Make(t.Context(), scale, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	return hosts
}

// droplets are the names that are there, in order.
func (c cluster) names() string {
	var all []string
	for _, d := range c.api.Droplets() {
		all = append(all, d.Name)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// posts is how often droplets were ordered.
func (c cluster) posts() (n int) {
	for _, r := range c.api.Requests() {
		if r.Method == http.MethodPost && r.Path == "/v2/droplets" {
			n++
		}
	}
	return n
}

func TestMakesHosts(t *testing.T) {
	bubble(t, func(t *testing.T, c cluster) {
		hosts := c.mustMake(t, 2)
		if len(hosts) != 2 || hosts[0].Name != "web-1" || hosts[1].Name != "web-2" {
			t.Fatalf("hosts are %+v", hosts)
		}
		for i, d := range c.api.Droplets() {
			if hosts[i].SSH != netip.AddrPortFrom(d.Public, 22) || hosts[i].Private != d.Private || hosts[i].User != "root" {
				t.Errorf("host %+v is not droplet %+v", hosts[i], d)
			}
			if d.SizeSlug != DefaultSize || d.Image.Slug != DefaultImage || d.Region.Slug != "fra1" || !slices.Equal(d.Tags, []string{"dokkaa:web"}) {
				t.Errorf("droplet is %+v", d)
			}
			if !slices.Equal(d.Order.PublicKeys, []string{"ssh-ed25519 AAAA laptop"}) || d.Order.UserData != userData {
				t.Errorf("it was ordered with %+v", d.Order)
			}
			if vpc := c.api.VPCs()[2]; d.VPC != vpc.ID || vpc.Name != "dokkaa-web" || vpc.Region != "fra1" {
				t.Errorf("its network is %s of %+v", d.VPC, c.api.VPCs())
			}
		}
		if again := c.mustMake(t, 2); !slices.Equal(again, hosts) || c.posts() != 2 {
			t.Errorf("again: %+v after %d orders", again, c.posts())
		}
		if more := open(t, c.api, func(o *Options) { o.Region = "" }).mustMake(t, 3); len(more) != 3 || more[2].Name != "web-3" {
			t.Errorf("more: %+v", more)
		}
		if fewer := c.mustMake(t, 1); len(fewer) != 3 {
			t.Errorf("fewer: %+v", fewer)
		}
	})
}

func TestReplacesALostHost(t *testing.T) {
	bubble(t, func(t *testing.T, c cluster) {
		c.mustMake(t, 3)
		c.api.Lose("web-2")
		if hosts := c.mustMake(t, 3); len(hosts) != 3 || hosts[1].Name != "web-2" {
			t.Errorf("hosts are %+v", hosts)
		}
	})
}

func TestNewHostsAreAsThoseThatThereAre(t *testing.T) {
	bubble(t, func(t *testing.T, c cluster) {
		open(t, c.api, func(o *Options) { o.Size, o.Image = "s-2vcpu-4gb", "debian-12-x64" }).mustMake(t, 1)
		open(t, c.api, func(o *Options) { o.Region = "" }).mustMake(t, 2)
		if d := c.api.Droplets()[1]; d.SizeSlug != "s-2vcpu-4gb" || d.Image.Slug != "debian-12-x64" || d.Region.Slug != "fra1" {
			t.Errorf("the second is %+v", d)
		}
		_, err := open(t, c.api, func(o *Options) { o.Region = "nyc3" }).Make(t.Context(), 3, t.Logf)
		if err == nil || !strings.Contains(err.Error(), "cluster web is in fra1") {
			t.Errorf("a host elsewhere: %v", err)
		}
	})
}

func TestUsesTheNetworkThatItIsGiven(t *testing.T) {
	bubble(t, func(t *testing.T, c cluster) {
		given := c.api.VPCs()[0].ID
		open(t, c.api, func(o *Options) { o.VPC = given }).mustMake(t, 1)
		c.mustMake(t, 2)
		for _, d := range c.api.Droplets() {
			if d.VPC != given {
				t.Errorf("%s is in %s, want %s", d.Name, d.VPC, given)
			}
		}
		_, err := open(t, c.api, func(o *Options) { o.VPC = c.api.VPCs()[1].ID }).Make(t.Context(), 3, t.Logf)
		if err == nil || !strings.Contains(err.Error(), "could not reach them") {
			t.Errorf("a host in another network: %v", err)
		}
		if err := c.RemoveAll(t.Context()); err != nil || len(c.api.VPCs()) != 2 {
			t.Errorf("after removal there are %+v, %v", c.api.VPCs(), err)
		}
	})
}

func TestWhatCannotBeHadIsSaidBeforeAnythingIsMade(t *testing.T) {
	tests := map[string]struct {
		change func(*Options)
		says   []string
	}{
		"no key":      {func(o *Options) { o.KeyName = "" }, []string{"by its name", "the account has laptop, twin, twin"}},
		"unknown key": {func(o *Options) { o.KeyName = "desktop" }, []string{`no SSH key named "desktop"`, "laptop"}},
		"twin keys":   {func(o *Options) { o.KeyName = "twin" }, []string{`several SSH keys named "twin": `, "rename all but one"}},
		"size":        {func(o *Options) { o.Size = "512mb" }, []string{`size "512mb" cannot be had in fra1`, "s-1vcpu-1gb, s-1vcpu-2gb"}},
		"region":      {func(o *Options) { o.Region = "sfo1" }, []string{`no region "sfo1"`}},
		"image":       {func(o *Options) { o.Image = "coreos-alpha" }, []string{`no image "coreos-alpha"`, DefaultImage}},
		"token":       {func(o *Options) { o.Token = "other" }, []string{"list droplets", "Unable to authenticate you"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, c cluster) {
				c.api.AddKey("twin", "ssh-ed25519 BBBB")
				c.api.AddKey("twin", "ssh-ed25519 CCCC")
				c = open(t, c.api, test.change)
				for _, f := range []func() error{
					func() error { _, err := c.Plan(t.Context(), 1); return err },
					func() error { _, err := c.Make(t.Context(), 1, t.Logf); return err },
				} {
					err := f()
					if err == nil {
						t.Fatal("it is content")
					}
					for _, part := range test.says {
						if !strings.Contains(err.Error(), part) {
							t.Errorf("it says %q, want %q in it", err, part)
						}
					}
				}
				if len(c.api.Droplets())+len(c.api.Firewalls())+len(c.api.Tags()) != 0 || len(c.api.VPCs()) != 2 {
					t.Error("something was made")
				}
			})
		})
	}
}

func TestPlanSaysWhatWouldBeMade(t *testing.T) {
	bubble(t, func(t *testing.T, c cluster) {
		c = open(t, c.api, func(o *Options) { o.Web = true })
		plan, err := c.Plan(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		want := []hosting.Item{
			{What: "VPC dokkaa-web in fra1"},
			{What: "firewall dokkaa-web: port 22 from 198.51.100.7/32; 80 and 443 from everywhere; all between the hosts; nothing else in"},
			{What: "host web-1: s-1vcpu-2gb (1 vCPU, 2 GiB memory, 50 GB disk) in fra1 with ubuntu-24-04-x64", Monthly: 12},
			{What: "host web-2: s-1vcpu-2gb (1 vCPU, 2 GiB memory, 50 GB disk) in fra1 with ubuntu-24-04-x64", Monthly: 12},
		}
		if !slices.Equal(plan.Items, want) || plan.Monthly() != 24 || plan.Currency != "USD" {
			t.Errorf("the plan is %+v", plan)
		}
		for _, r := range c.api.Requests() {
			if r.Method != http.MethodGet {
				t.Errorf("it sent %s %s", r.Method, r.Path)
			}
		}
		c.mustMake(t, 2)
		if plan, err = c.Plan(t.Context(), 2); err != nil || len(plan.Items) != 0 {
			t.Errorf("of what is there, it would make %+v, %v", plan, err)
		}
		if plan, err = open(t, c.api, nil).Plan(t.Context(), 0); err != nil || len(plan.Items) != 1 || !strings.HasPrefix(plan.Items[0].What, "change of firewall dokkaa-web: port 22") {
			t.Errorf("with 80 and 443 shut, it would make %+v, %v", plan, err)
		}
	})
}

func TestFirewall(t *testing.T) {
	bubble(t, func(t *testing.T, c cluster) {
		var atFirst bool
		c.api.SetMachines(atBoot{func() { atFirst = len(c.api.Firewalls()) == 1 }})
		c.mustMake(t, 1)
		if !atFirst {
			t.Error("a droplet was made before the firewall")
		}
		rules := func() string {
			var all []string
			for _, f := range c.api.Firewalls() {
				all = append(all, fmt.Sprintf("%s of %v:", f.Name, f.Tags))
				for _, r := range f.Inbound {
					all = append(all, fmt.Sprintf("%s %s %v%v", r.Protocol, r.Ports, r.Sources.Addresses, r.Sources.Tags))
				}
			}
			return strings.Join(all, "\n")
		}
		closed := "dokkaa-web of [dokkaa:web]:\ntcp 22 [198.51.100.7/32][]\ntcp 0 [][dokkaa:web]\nudp 0 [][dokkaa:web]\nicmp 0 [][dokkaa:web]"
		if rules() != closed {
			t.Errorf("the rules are %s", rules())
		}
		open(t, c.api, func(o *Options) { o.Web, o.SSHFrom = true, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }).mustMake(t, 1)
		wide := strings.Replace(closed, "198.51.100.7/32][]", "192.0.2.0/24][]\ntcp 80 [0.0.0.0/0 ::/0][]\ntcp 443 [0.0.0.0/0 ::/0][]", 1)
		if rules() != wide {
			t.Errorf("the rules are %s", rules())
		}
		c.mustMake(t, 1)
		if rules() != closed {
			t.Errorf("again they are %s", rules())
		}
	})
}

// atBoot does something when a machine is made.
type atBoot struct{ f func() }

func (b atBoot) Make(context.Context, digitaloceantest.Droplet) (public, private netip.Addr, err error) {
	b.f()
	return netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("10.114.0.9"), nil
}

func (b atBoot) Destroy(digitaloceantest.Droplet) error { return nil }

func TestOwnAddressUnknown(t *testing.T) {
	bubble(t, func(t *testing.T, c cluster) {
		nowhere := func(o *Options) {
			o.OwnIP = func(context.Context) (netip.Addr, error) { return netip.Addr{}, fmt.Errorf("no route") }
		}
		_, err := open(t, c.api, nowhere).Make(t.Context(), 1, t.Logf)
		if err == nil || !strings.Contains(err.Error(), "no route; say it with --ssh-from") {
			t.Errorf("it says %v", err)
		}
	})
}

func TestRemovesHosts(t *testing.T) {
	bubble(t, func(t *testing.T, c cluster) {
		c.mustMake(t, 3)
		c.api.SetLate(2)
		for range 2 { // the second time there is nothing to do
			if err := c.Remove(t.Context(), "web-2"); err != nil {
				t.Fatal(err)
			}
			if c.names() != "web-1 web-3" {
				t.Errorf("there are %s", c.names())
			}
		}
	})
}

func TestRemovesAllAndNothingElse(t *testing.T) {
	bubble(t, func(t *testing.T, c cluster) {
		other := open(t, c.api, func(o *Options) { o.Cluster = "web2" })
		other.mustMake(t, 1)
		c.api.AddVolume("theirs", "web2-1", "dokkaa:web2")
		c.mustMake(t, 2)
		c.api.AddVolume("data", "web-1", "dokkaa:web")
		c.api.AddVolume("photos", "web-2")
		have, err := c.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(have.Hosts) != 2 || have.Hosts[1].Name != "web-2" {
			t.Errorf("hosts are %+v", have.Hosts)
		}
		if want := []string{"volume data of 10 GiB, with its data", "firewall dokkaa-web", "VPC dokkaa-web"}; !slices.Equal(have.Others, want) {
			t.Errorf("others are %q", have.Others)
		}
		if want := []string{"volume photos of 10 GiB: it is attached to web-2, but has not the tag dokkaa:web"}; !slices.Equal(have.Kept, want) {
			t.Errorf("kept are %q", have.Kept)
		}
		c.api.SetLate(2) // droplets go slowly, and volumes and the VPC cannot go before
		for range 2 {
			if err := c.RemoveAll(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if have, err = c.List(t.Context()); err != nil || len(have.Hosts)+len(have.Others)+len(have.Kept) != 0 {
			t.Errorf("there is still %+v, %v", have, err)
		}
		var volumes []string
		for _, v := range c.api.Volumes() {
			volumes = append(volumes, v.Name)
		}
		if c.names() != "web2-1" || len(c.api.Firewalls()) != 1 || len(c.api.VPCs()) != 3 || !slices.Equal(volumes, []string{"theirs", "photos"}) {
			t.Errorf("others have %s, %v, %v, %v", c.names(), c.api.Firewalls(), c.api.VPCs(), volumes)
		}
		if !slices.Equal(c.api.Tags(), []string{"dokkaa:web2"}) {
			t.Errorf("tags are %v", c.api.Tags())
		}
	})
}

func TestADefaultVPCStays(t *testing.T) {
	bubble(t, func(t *testing.T, c cluster) {
		c.api.NoDefaultVPCs()
		c.mustMake(t, 1)
		have, err := c.List(t.Context())
		if err != nil || len(have.Kept) != 1 || !strings.HasPrefix(have.Kept[0], "VPC dokkaa-web: it became the default of fra1") {
			t.Errorf("kept are %q, %v", have.Kept, err)
		}
		if err := c.RemoveAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.mustMake(t, 1)
		if len(c.api.VPCs()) != 1 {
			t.Errorf("VPCs are %v", c.api.VPCs())
		}
	})
}

func TestHostsAndOthers(t *testing.T) {
	for name, want := range map[string]int{"web-1": 1, "web-12": 12, "web-0": 0, "web-01": 0, "web-": 0, "web-1a": 0, "web2-1": 0, "web--1": 0, "web-+1": 0} {
		if got, ok := hostNumber("web", name); got != want || ok != (want > 0) {
			t.Errorf("%s is number %d, %t", name, got, ok)
		}
	}
}

func TestManyPages(t *testing.T) {
	bubble(t, func(t *testing.T, c cluster) {
		for i := range 450 {
			c.api.AddKey(fmt.Sprint("key", i), "ssh-ed25519 BBBB")
		}
		c = open(t, c.api, func(o *Options) { o.KeyName = "key449" })
		c.mustMake(t, 1)
	})
}

func TestWaitsForAddresses(t *testing.T) {
	bubble(t, func(t *testing.T, c cluster) {
		c.api.SetLate(4)
		start := time.Now()
		hosts := c.mustMake(t, 2)
		for _, h := range hosts {
			if !h.SSH.IsValid() || !h.Private.IsValid() {
				t.Errorf("host %+v has not both addresses", h)
			}
		}
		for _, d := range c.api.Droplets() {
			if d.Status != "active" {
				t.Errorf("%s is %s", d.Name, d.Status)
			}
		}
		if took := time.Since(start); took < 20*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestGivesUpWaiting(t *testing.T) {
	bubble(t, func(t *testing.T, c cluster) {
		c.api.SetLate(1000)
		_, err := c.Make(t.Context(), 1, t.Logf)
		if err == nil || err.Error() != "host web-1 is new, with the addresses none, after 10m0s; dokkaacfg up goes on waiting, dokkaacfg down removes all" {
			t.Errorf("it says %v", err)
		}
		c.api.SetLate(0)
		if c.mustMake(t, 1); c.posts() != 1 {
			t.Errorf("%d orders", c.posts())
		}
	})
}
