package digitalocean

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/dokkaa/dokkaa/internal/digitaloceantest"
)

func TestALostAnswerMakesNoSecondDroplet(t *testing.T) {
	for name, fault := range map[string]digitaloceantest.Fault{
		"broken connection": {After: true},
		"bad gateway":       {After: true, Status: http.StatusBadGateway},
		"several":           {After: true, Times: 2},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, c cluster) {
				fault.Method, fault.Path = http.MethodPost, "/v2/droplets"
				c.api.Fail(fault)
				if hosts := c.mustMake(t, 3); len(hosts) != 3 {
					t.Errorf("hosts are %+v", hosts)
				}
				if c.names() != "web-1 web-2 web-3" || c.posts() != 3 {
					t.Errorf("there are %s after %d orders", c.names(), c.posts())
				}
			})
		})
	}
}

func TestALostAnswerMakesNoSecondNetwork(t *testing.T) {
	bubble(t, func(t *testing.T, c cluster) {
		for _, path := range []string{"/v2/tags", "/v2/firewalls", "/v2/vpcs"} {
			c.api.Fail(digitaloceantest.Fault{Method: http.MethodPost, Path: path, After: true})
		}
		c.mustMake(t, 1)
		if len(c.api.Firewalls()) != 1 || len(c.api.VPCs()) != 3 {
			t.Errorf("there are %v, %v", c.api.Firewalls(), c.api.VPCs())
		}
	})
}

func TestTheSecondDropletOfANameGoes(t *testing.T) {
	bubble(t, func(t *testing.T, c cluster) {
		first := c.mustMake(t, 1)
		// Another operator made one at the same moment.
		request := c.api.Droplets()[0]
		w, err := c.want(t.Context(), standing{}, 1)
		if err != nil {
			t.Fatal(err)
		}
		m := c.newMaker(w, t.Logf)
		m.want.vpc = request.VPC
		if err := m.make(t.Context(), "web-1"); err != nil || c.names() != "web-1 web-1" {
			t.Fatalf("there are %s, %v", c.names(), err)
		}
		have, err := c.List(t.Context())
		if err != nil || len(have.Hosts) != 1 || !strings.HasPrefix(have.Others[0], "droplet web-1 (") {
			t.Errorf("there is %+v, %v", have, err)
		}
		c.api.SetLate(1)
		if hosts := c.mustMake(t, 1); len(hosts) != 1 || hosts[0] != first[0] || c.names() != "web-1" {
			t.Errorf("hosts are %+v of %s, want %+v", hosts, c.names(), first)
		}
	})
}

func TestAnOrderThatTakesEffectLate(t *testing.T) {
	bubble(t, func(t *testing.T, c cluster) {
		c.api.Fail(digitaloceantest.Fault{Method: http.MethodPost, Path: "/v2/droplets", Status: http.StatusGatewayTimeout, Later: 2})
		hosts := c.mustMake(t, 1)
		if c.posts() != 2 || c.names() != "web-1" {
			t.Errorf("after %d orders there are %s", c.posts(), c.names())
		}
		c.api.Fail(digitaloceantest.Fault{Method: http.MethodPost, Path: "/v2/droplets", Status: http.StatusGatewayTimeout, Later: 1000})
		c.mustMake(t, 2)
		c.api.Settle()
		if c.names() != "web-1 web-2 web-2" {
			t.Fatalf("there are %s", c.names())
		}
		if again := c.mustMake(t, 2); again[0] != hosts[0] || c.names() != "web-1 web-2" {
			t.Errorf("there are %s, %+v", c.names(), again)
		}
	})
}

func TestWaitsAsLongAsItIsTold(t *testing.T) {
	bubble(t, func(t *testing.T, c cluster) {
		c.api.Fail(digitaloceantest.Fault{Path: "/v2/sizes", Status: http.StatusTooManyRequests, RetryAfter: 42 * time.Second})
		c.api.Fail(digitaloceantest.Fault{Method: "POST", Path: "/v2/droplets", Status: http.StatusTooManyRequests, RetryAfter: 37 * time.Second})
		c.mustMake(t, 1)
		last := map[string]time.Time{}
		for _, r := range c.api.Requests() {
			key := r.Method + strings.Split(r.Path, "?")[0]
			if before, ok := last[key]; ok && r.Status != http.StatusTooManyRequests {
				took := r.At.Sub(before)
				if strings.HasSuffix(key, "sizes") && took < 42*time.Second || key == "POST/v2/droplets" && took < 37*time.Second {
					t.Errorf("%s again after %s", key, took)
				}
			}
			last[key] = r.At
		}
		if c.posts() != 2 {
			t.Errorf("%d orders", c.posts())
		}
	})
}

func TestDoesNotWaitForAnHour(t *testing.T) {
	for _, fault := range []digitaloceantest.Fault{{Path: "/v2/sizes"}, {Method: http.MethodPost, Path: "/v2/droplets"}} {
		bubble(t, func(t *testing.T, c cluster) {
			fault.Status, fault.RetryAfter = http.StatusTooManyRequests, time.Hour
			c.api.Fail(fault)
			start := time.Now()
			_, err := c.Make(t.Context(), 1, t.Logf)
			if statusOf(err) != http.StatusTooManyRequests || time.Since(start) > time.Second {
				t.Errorf("after %s it says %v", time.Since(start), err)
			}
		})
	}
}

func TestGivesUpWhenTheAPIIsDown(t *testing.T) {
	for name, path := range map[string]string{"all": "", "orders": "/v2/droplets"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, c cluster) {
				method := ""
				if path != "" {
					method = http.MethodPost
				}
				c.api.Fail(digitaloceantest.Fault{Method: method, Path: path, Times: 1000, Status: http.StatusServiceUnavailable})
				start := time.Now()
				_, err := c.Make(t.Context(), 1, t.Logf)
				if statusOf(err) != http.StatusServiceUnavailable {
					t.Errorf("it says %v", err)
				}
				if took := time.Since(start); took < patience/2 || took > 2*patience {
					t.Errorf("it took %s", took)
				}
				if n := len(c.api.Requests()); n > 60 {
					t.Errorf("%d requests", n)
				}
			})
		})
	}
}

func TestWhatCannotBeReadIsNotNothing(t *testing.T) {
	for _, path := range []string{"/v2/droplets", "/v2/vpcs", "/v2/firewalls", "/v2/volumes"} {
		bubble(t, func(t *testing.T, c cluster) {
			c.mustMake(t, 1)
			c.api.Fail(digitaloceantest.Fault{Method: http.MethodGet, Path: path, Times: 1000, Status: http.StatusInternalServerError})
			if have, err := c.List(t.Context()); err == nil {
				t.Errorf("without %s there is %+v", path, have)
			}
			if path == "/v2/volumes" {
				return // making hosts does not ask for them
			}
			if _, err := c.Make(t.Context(), 2, t.Logf); err == nil || c.names() != "web-1" {
				t.Errorf("without %s there is %s, %v", path, c.names(), err)
			}
		})
	}
}

func TestRemovalInterrupted(t *testing.T) {
	bubble(t, func(t *testing.T, c cluster) {
		c.mustMake(t, 2)
		c.api.AddVolume("data", "web-1", "dokkaa:web")
		c.api.SetLate(1)
		c.api.Fail(digitaloceantest.Fault{Method: http.MethodDelete, Path: "/v2/droplets", After: true})
		c.api.Fail(digitaloceantest.Fault{Method: http.MethodDelete, Path: "/v2/volumes", Times: 2, Status: http.StatusConflict})
		c.api.Fail(digitaloceantest.Fault{Method: http.MethodDelete, Path: "/v2/firewalls", After: true})
		c.api.Fail(digitaloceantest.Fault{Method: http.MethodDelete, Path: "/v2/vpcs", Times: 3, Status: http.StatusForbidden})
		c.api.Fail(digitaloceantest.Fault{Method: http.MethodDelete, Path: "/v2/vpcs", After: true})
		c.api.Fail(digitaloceantest.Fault{Method: http.MethodDelete, Path: "/v2/tags", After: true, Status: http.StatusBadGateway})
		if err := c.RemoveAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c.names() != "" || len(c.api.Volumes())+len(c.api.Firewalls())+len(c.api.Tags()) != 0 || len(c.api.VPCs()) != 2 {
			t.Errorf("there are %s, %v, %v, %v, %v", c.names(), c.api.Volumes(), c.api.Firewalls(), c.api.Tags(), c.api.VPCs())
		}
	})
}

func TestAVPCThatStaysInUseIsSaid(t *testing.T) {
	bubble(t, func(t *testing.T, c cluster) {
		c.mustMake(t, 1)
		c.api.Fail(digitaloceantest.Fault{Method: http.MethodDelete, Path: "/v2/vpcs", Times: 1000, Status: http.StatusForbidden})
		err := c.RemoveAll(t.Context())
		if err == nil || !strings.Contains(err.Error(), ", after 5m0s; the same command goes on") || !strings.Contains(err.Error(), "403") {
			t.Errorf("it says %v", err)
		}
	})
}

// drawFault is any trouble but one that lasts too long for the command's patience.
func drawFault(r *rapid.T) digitaloceantest.Fault {
	return digitaloceantest.Fault{
		Method: rapid.SampledFrom([]string{"", http.MethodGet, http.MethodPost, http.MethodDelete}).Draw(r, "method"),
		Path:   rapid.SampledFrom([]string{"", "/v2/droplets", "/v2/vpcs", "/v2/firewalls", "/v2/tags", "/v2/volumes"}).Draw(r, "path"),
		Skip:   rapid.IntRange(0, 5).Draw(r, "skip"), Times: rapid.IntRange(1, 3).Draw(r, "times"),
		Status: rapid.SampledFrom([]int{0, 429, 500, 502, 504}).Draw(r, "status"), After: rapid.Bool().Draw(r, "after"),
		Later: rapid.SampledFrom([]int{0, 0, 0, 1, 2, 5, 20}).Draw(r, "later"),
	}
}

// TestEndsWellWhereverItStops kills the command at random moments, with random trouble, and runs it
// again: the same hosts are there as if nothing had happened, and no other droplet. The same goes for
// the removal, which leaves nothing.
func TestEndsWellWhereverItStops(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		stops := rapid.SliceOfN(rapid.IntRange(1, 40), 0, 4).Draw(r, "requests until it is killed")
		late := rapid.IntRange(0, 3).Draw(r, "late")
		faults := rapid.SliceOfN(rapid.Custom(drawFault), 0, 5).Draw(r, "faults")
		again := rapid.SliceOfN(rapid.Custom(drawFault), 0, 5).Draw(r, "faults of the removal")
		lost := rapid.SampledFrom([]string{"", "web-1", "web-2"}).Draw(r, "lost")
		removals := rapid.SliceOfN(rapid.IntRange(1, 25), 0, 3).Draw(r, "requests until the removal is killed")
		synctest.Test(t, func(t *testing.T) {
			api := digitaloceantest.New(t)
			api.AddKey("laptop", "ssh-ed25519 AAAA laptop")
			api.SetLate(late)
			for _, f := range faults {
				api.Fail(f)
			}
			for _, stop := range stops {
				ctx, kill := context.WithCancel(t.Context())
				c := open(t, api, func(o *Options) { o.Client = killer(o.Client, stop, kill) })
				if _, err := c.Make(ctx, 3, t.Logf); err != nil && ctx.Err() == nil {
					r.Fatalf("make: %v", err)
				}
				kill()
			}
			api.Lose(lost) // behind everybody's back
			c := open(t, api, nil)
			c.mustMake(t, 3)
			api.Settle() // what took effect too late for that is found by the next one
			if hosts := c.mustMake(t, 3); len(hosts) != 3 || c.names() != "web-1 web-2 web-3" || len(api.Firewalls()) != 1 || len(api.VPCs()) != 3 {
				r.Fatalf("there are %s, %v, %v", c.names(), api.Firewalls(), api.VPCs())
			}
			api.AddVolume("data", "web-1", "dokkaa:web")
			for _, f := range again {
				api.Fail(f)
			}
			for _, stop := range removals {
				ctx, kill := context.WithCancel(t.Context())
				c := open(t, api, func(o *Options) { o.Client = killer(o.Client, stop, kill) })
				if err := c.RemoveAll(ctx); err != nil && ctx.Err() == nil {
					r.Fatalf("remove: %v", err)
				}
				kill()
			}
			if err := c.RemoveAll(t.Context()); err != nil {
				r.Fatalf("remove: %v", err)
			}
			if c.names() != "" || len(api.Volumes())+len(api.Firewalls())+len(api.Tags()) != 0 || len(api.VPCs()) != 2 {
				r.Fatalf("there is still %s, %v, %v, %v, %v", c.names(), api.Volumes(), api.Firewalls(), api.VPCs(), api.Tags())
			}
		})
	})
}

// killer kills the command with a request under way: the effect may be there, the answer is not.
func killer(client *http.Client, after int, kill func()) *http.Client {
	next := client.Transport
	return &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if after--; after == 0 {
			kill()
			return nil, errors.New("killed")
		}
		return response, err
	})}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
