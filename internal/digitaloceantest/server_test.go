package digitaloceantest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/digitalocean/godo"
)

func client(t *testing.T, a *API) *godo.Client {
	t.Helper()
	c, err := godo.New(a.Client(), godo.SetRequestHeaders(map[string]string{"Authorization": "Bearer " + Token}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// order is a droplet that can be had.
func order(a *API, key Key) *godo.DropletCreateRequest {
	return &godo.DropletCreateRequest{
		Name: "web-1", Region: "fra1", Size: "s-1vcpu-1gb", Image: godo.DropletCreateImage{Slug: "debian-12-x64"},
		SSHKeys: []godo.DropletCreateSSHKey{{ID: key.ID}}, Tags: []string{"dokkaa:web"}, VPCUUID: a.VPCs()[0].ID,
	}
}

func TestRefusesWhatTheDescriptionRefuses(t *testing.T) {
	tests := map[string]struct {
		method, path, body string
		status             int
		says               string
	}{
		"unknown path":            {"GET", "/v2/dropletz", "", 404, "could not be found"},
		"unknown method":          {"PATCH", "/v2/droplets", "", 404, "could not be found"},
		"too long a page":         {"GET", "/v2/droplets?per_page=201", "", 422, "per_page"},
		"page 0":                  {"GET", "/v2/droplets?page=0", "", 422, "page"},
		"id that is none":         {"GET", "/v2/droplets/web-1", "", 422, "droplet_id"},
		"droplet without region":  {"POST", "/v2/droplets", `{"name":"web-1","size":"s-1vcpu-1gb","image":"debian-12-x64"}`, 422, "region"},
		"droplet with a bad name": {"POST", "/v2/droplets", `{"name":"Web_1","region":"fra1","size":"s-1vcpu-1gb","image":"debian-12-x64"}`, 422, ""},
		"droplet with a number":   {"POST", "/v2/droplets", `{"name":"web-1","region":"fra1","size":"s-1vcpu-1gb","image":"debian-12-x64","user_data":7}`, 422, ""},
		"firewall without rules":  {"POST", "/v2/firewalls", `{"name":"web"}`, 422, ""},
		"firewall with null ids":  {"POST", "/v2/firewalls", `{"name":"web","inbound_rules":[],"droplet_ids":null}`, 422, "droplet_ids"},
		"rule without ports":      {"POST", "/v2/firewalls", `{"name":"web","inbound_rules":[{"protocol":"icmp","sources":{}}]}`, 422, "ports"},
		"tag with a dot":          {"POST", "/v2/tags", `{"name":"a.b"}`, 422, "name"},
		"VPC without a region":    {"POST", "/v2/vpcs", `{"name":"web"}`, 422, "region"},
		"VPC of no uuid":          {"DELETE", "/v2/vpcs/7", "", 422, "vpc_id"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := New(t)
			request := httptest.NewRequestWithContext(t.Context(), test.method, "https://api.digitalocean.com"+test.path, strings.NewReader(test.body))
			if test.body == "" {
				request.Body = http.NoBody
			}
			request.Header.Set("Authorization", "Bearer "+Token)
			request.Header.Set("Content-Type", "application/json")
			response := httptest.NewRecorder()
			a.ServeHTTP(response, request)
			if response.Code != test.status || !strings.Contains(response.Body.String(), test.says) {
				t.Errorf("it answers %d: %s; want %d and %q", response.Code, response.Body, test.status, test.says)
			}
			if found := a.Violations(); len(found) != 1 {
				t.Errorf("violations are %v, want one", found)
			}
		})
	}
}

func TestNobodyGetsInWithoutTheToken(t *testing.T) {
	c, err := godo.New(New(t).Client())
	if err != nil {
		t.Fatal(err)
	}
	if _, response, _ := c.Keys.List(t.Context(), nil); response.StatusCode != http.StatusUnauthorized {
		t.Errorf("it answers %s", response.Status)
	}
}

func TestRefusesWhatCannotBeHad(t *testing.T) {
	tests := map[string]func(*godo.DropletCreateRequest){
		"size":      func(r *godo.DropletCreateRequest) { r.Size = "512mb" },
		"region":    func(r *godo.DropletCreateRequest) { r.Region = "sfo1" },
		"image":     func(r *godo.DropletCreateRequest) { r.Image.Slug = "coreos-alpha" },
		"key":       func(r *godo.DropletCreateRequest) { r.SSHKeys[0].ID = 1 },
		"VPC":       func(r *godo.DropletCreateRequest) { r.Region = "nyc3" },
		"user data": func(r *godo.DropletCreateRequest) { r.UserData = strings.Repeat("x", 64<<10+1) },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			a := New(t)
			request := order(a, a.AddKey("laptop", "ssh-ed25519 AAAA"))
			spoil(request)
			_, response, err := client(t, a).Droplets.Create(t.Context(), request)
			if err == nil || response.StatusCode != http.StatusUnprocessableEntity {
				t.Errorf("it answers %s, %v", response.Status, err)
			}
			if len(a.Droplets()) != 0 {
				t.Error("there is a droplet")
			}
		})
	}
}

func TestFirewallsNameWhatThereIs(t *testing.T) {
	a := New(t)
	request := &godo.FirewallRequest{
		Name: "web", DropletIDs: []int{}, Tags: []string{"dokkaa:web"},
		InboundRules: []godo.InboundRule{{Protocol: "tcp", PortRange: "22", Sources: &godo.Sources{Addresses: []string{"198.51.100.0/24"}}}},
	}
	c := client(t, a)
	if _, _, err := c.Firewalls.Create(t.Context(), request); err == nil {
		t.Error("its tag is not there, and it is made")
	}
	if _, _, err := c.Tags.Create(t.Context(), &godo.TagCreateRequest{Name: "dokkaa:web"}); err != nil {
		t.Fatal(err)
	}
	for _, spoil := range []func(*godo.InboundRule){
		func(r *godo.InboundRule) { r.PortRange = "80-22" },
		func(r *godo.InboundRule) { r.Sources = &godo.Sources{Addresses: []string{"here"}} },
		func(r *godo.InboundRule) { r.Sources = &godo.Sources{Tags: []string{"other"}} },
	} {
		spoiled := *request
		spoiled.InboundRules = []godo.InboundRule{request.InboundRules[0]}
		spoil(&spoiled.InboundRules[0])
		if _, _, err := c.Firewalls.Create(t.Context(), &spoiled); err == nil {
			t.Errorf("%+v is made", spoiled.InboundRules[0])
		}
	}
	if _, _, err := c.Firewalls.Create(t.Context(), request); err != nil {
		t.Error(err)
	}
	if _, response, _ := c.Firewalls.Create(t.Context(), request); response.StatusCode != http.StatusConflict {
		t.Errorf("a second one of the name: %s", response.Status)
	}
}

func TestPages(t *testing.T) {
	a := New(t)
	for range 45 {
		a.AddKey("laptop", "ssh-ed25519 AAAA")
	}
	c := client(t, a)
	seen := map[int]bool{}
	for page := 1; page <= 3; page++ {
		keys, response, err := c.Keys.List(t.Context(), &godo.ListOptions{Page: page, PerPage: 20})
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			seen[key.ID] = true
		}
		if response.Links.IsLastPage() != (page == 3) || response.Meta.Total != 45 {
			t.Errorf("page %d: links %+v, meta %+v", page, response.Links, response.Meta)
		}
	}
	if len(seen) != 45 {
		t.Errorf("%d keys, want 45", len(seen))
	}
}

func TestFaults(t *testing.T) {
	a := New(t)
	key := a.AddKey("laptop", "ssh-ed25519 AAAA")
	c := client(t, a)
	a.Fail(Fault{Method: "GET", Path: "/v2/droplets", Skip: 1, Status: http.StatusTooManyRequests, RetryAfter: 7 * time.Second})
	a.Fail(Fault{Method: "POST", Path: "/v2/droplets", After: true})
	a.Fail(Fault{Method: "POST", Path: "/v2/droplets", Status: http.StatusBadGateway})
	list := func() (*godo.Response, error) {
		_, response, err := c.Droplets.List(t.Context(), nil)
		return response, err
	}
	if _, err := list(); err != nil {
		t.Error(err)
	}
	if response, err := list(); err == nil || response.StatusCode != http.StatusTooManyRequests || response.Header.Get("Retry-After") != "7" {
		t.Errorf("too many requests are %+v, %v", response, err)
	}
	if _, err := list(); err != nil {
		t.Error(err)
	}
	if _, _, err := c.Droplets.Create(t.Context(), order(a, key)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a lost answer is %v", err)
	}
	if len(a.Droplets()) != 1 {
		t.Error("the droplet whose answer was lost is not there")
	}
	if _, response, _ := c.Droplets.Create(t.Context(), order(a, key)); response.StatusCode != http.StatusBadGateway || len(a.Droplets()) != 1 {
		t.Errorf("a bad gateway is %s, with %d droplets", response.Status, len(a.Droplets()))
	}
}

// counted are machines of a test.
type counted struct {
	mu              sync.Mutex
	made, destroyed []string
}

func (c *counted) Make(_ context.Context, d Droplet) (public, private netip.Addr, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made = append(c.made, d.Name+" "+d.Order.PublicKeys[0])
	return netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.114.0.2"), nil
}

func (c *counted) Destroy(d Droplet) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.destroyed = append(c.destroyed, d.Name)
	return nil
}

func TestDropletsRunOnMachines(t *testing.T) {
	machines := &counted{}
	t.Run("droplet", func(t *testing.T) {
		a := New(t)
		a.SetMachines(machines)
		a.SetLate(1)
		key := a.AddKey("laptop", "ssh-ed25519 AAAA")
		c := client(t, a)
		made, _, err := c.Droplets.Create(t.Context(), order(a, key))
		if err != nil || made.Status != "new" {
			t.Fatalf("made %+v, %v", made, err)
		}
		a.Wait()
		var seen []string
		for range 4 {
			d, _, err := c.Droplets.Get(t.Context(), made.ID)
			if err != nil {
				t.Fatal(err)
			}
			ip, _ := d.PublicIPv4()
			seen = append(seen, d.Status+ip)
		}
		if got := strings.Join(seen, " "); got != "new new127.0.0.1 active127.0.0.1 active127.0.0.1" {
			t.Errorf("it was %s", got)
		}
		c.Droplets.Delete(t.Context(), made.ID)
		if _, response, _ := c.Droplets.Get(t.Context(), made.ID); response.StatusCode != http.StatusNotFound {
			t.Errorf("it is still there: %s", response.Status)
		}
	})
	if len(machines.made) != 1 || machines.made[0] != "web-1 ssh-ed25519 AAAA" || len(machines.destroyed) != 1 {
		t.Errorf("machines: %+v", machines)
	}
}

func TestWhatIsInUseStays(t *testing.T) {
	a := New(t)
	key := a.AddKey("laptop", "ssh-ed25519 AAAA")
	c := client(t, a)
	vpc, _, err := c.VPCs.Create(t.Context(), &godo.VPCCreateRequest{Name: "web", RegionSlug: "fra1"})
	if err != nil {
		t.Fatal(err)
	}
	request := order(a, key)
	request.VPCUUID = vpc.ID
	droplet, _, err := c.Droplets.Create(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	a.AddVolume("data", "web-1")
	if response, _ := c.VPCs.Delete(t.Context(), vpc.ID); response.StatusCode != http.StatusForbidden {
		t.Errorf("removing a VPC with a droplet: %s", response.Status)
	}
	if response, _ := c.Storage.DeleteVolume(t.Context(), a.Volumes()[0].ID); response.StatusCode != http.StatusConflict {
		t.Errorf("removing an attached volume: %s", response.Status)
	}
	if response, _ := c.VPCs.Delete(t.Context(), a.VPCs()[0].ID); response.StatusCode != http.StatusForbidden {
		t.Errorf("removing a default VPC: %s", response.Status)
	}
	if _, err := c.Droplets.Delete(t.Context(), droplet.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := c.VPCs.Delete(t.Context(), vpc.ID); err != nil {
		t.Error(err)
	}
	if _, err := c.Storage.DeleteVolume(t.Context(), a.Volumes()[0].ID); err != nil {
		t.Error(err)
	}
}
