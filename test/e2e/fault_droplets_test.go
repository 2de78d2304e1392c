//go:build faults

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/digitaloceantest"
	"github.com/dokkaa/dokkaa/internal/state"
)

// TestDropletsKilledAnywhere kills up and down at random moments and runs them again: what is there
// at the end is as if they had run through.
func TestDropletsKilledAnywhere(t *testing.T) {
	o := newOperator(t, "dropkill", "10.126.3.0/24")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	kill := func(within time.Duration, args ...string) {
		after := time.Duration(random.Int64N(int64(within)))
		ctx, cancel := context.WithTimeout(t.Context(), after)
		defer cancel()
		out, err := o.command(ctx, args...).CombinedOutput()
		t.Logf("%s killed after %s (%v):\n%s", args[0], after.Round(time.Millisecond), err, out)
	}
	for n := range 10 {
		o.SetLate(n % 3)
		if n%2 == 0 {
			o.Fail(digitaloceantest.Fault{Method: http.MethodPost, After: true, Status: []int{0, http.StatusBadGateway}[n/2%2]})
		}
		kill(4*time.Second, upDroplets(3)...) // one that has nothing left to do takes longer
	}
	t.Log(o.call(upDroplets(3)...))
	if o.hosts() != "dropkill-1 dropkill-2 dropkill-3" || len(o.Firewalls()) != 1 || len(o.VPCs()) != len(digitaloceantest.Regions)+1 {
		t.Errorf("there are %s, %v, %v", o.hosts(), o.Firewalls(), o.VPCs())
	}
	t.Log(o.call("apply", "-f", "."))

	for range 5 {
		kill(2*time.Second, "down", "--yes")
	}
	t.Log(o.call("down", "--yes"))
	if err := o.empty(); err != nil {
		t.Error(err)
	}
}

// instances are those of all containers, by id, and where they are; or why that is not all.
func (o *operator) instances() (map[string]string, error) {
	var status struct {
		Containers []struct {
			Name string `json:"name"`
			state.Status
		} `json:"containers"`
	}
	out := o.call("status", "-o", "json")
	if err := json.Unmarshal([]byte(out), &status); err != nil || len(status.Containers) == 0 {
		return nil, fmt.Errorf("status %s: %w", out, err)
	}
	all := map[string]string{}
	for _, c := range status.Containers {
		if c.Healthy != c.Wanted || len(c.Slots) != c.Wanted {
			return nil, fmt.Errorf("%s is %+v", c.Name, c.Status)
		}
		for _, slot := range c.Slots {
			all[slot.Instance] = slot.Host
		}
	}
	return all, nil
}

// TestDropletReplaced destroys a host behind everybody's back: up makes it anew, and the example
// goes on; also if the new one gets the address of the old one, as may be at DigitalOcean.
func TestDropletReplaced(t *testing.T) {
	o := newOperator(t, "droprep", "10.126.4.0/24")
	o.call(upDroplets(2)...)
	o.call("apply", "-f", ".")
	for _, again := range []bool{false, true} {
		before, err := o.instances()
		if err != nil {
			t.Fatal(err)
		}
		lost := o.Droplets()[1]
		o.Lose(lost.Name)
		o.Wait()
		o.again = again
		t.Log(o.call(upDroplets(2)...))
		if now := o.Droplets(); o.hosts() != "droprep-1 droprep-2" || (now[1].Private == lost.Private) != again {
			t.Fatalf("hosts are %+v", now)
		}
		for deadline := time.Now().Add(slack * 15 * time.Second); ; time.Sleep(time.Second) {
			now, err := o.instances()
			for id, host := range before {
				if host == lost.Private.String() && now[id] != "" {
					err = fmt.Errorf("instance %s is still said to be on %s", id, now[id])
				}
			}
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
		t.Log(o.call("status"))
	}
	t.Log(o.call("down", "--yes"))
	if err := o.empty(); err != nil {
		t.Error(err)
	}
}
