//go:build faults

package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/digitaloceantest"
	"github.com/dokkaa/dokkaa/internal/state"
)

// TestDropletsKilledAnywhere kills up ten times, and down, at random moments and runs them again: what
// is there at the end is as if they had run through.
func TestDropletsKilledAnywhere(t *testing.T) {
	o := newOperator(t, "dropkill", "10.126.3.0/24")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	kill := func(within time.Duration, args ...string) (killed bool) {
		after := time.Duration(random.Int64N(int64(within)))
		ctx, cancel := context.WithTimeout(t.Context(), after)
		defer cancel()
		out, err := o.command(ctx, args...).CombinedOutput()
		t.Logf("%s killed after %s (%v):\n%s", args[0], after.Round(time.Millisecond), err, out)
		if err != nil && ctx.Err() == nil {
			t.Fatalf("%s: %v", args[0], err)
		}
		return err != nil
	}
	for n, kills := 0, 0; kills < 10; n++ {
		o.SetLate(n % 3)
		if n%2 == 0 {
			o.Fail(digitaloceantest.Fault{Method: http.MethodPost, After: true, Status: []int{0, http.StatusBadGateway}[n/2%2]})
		}
		// Early, while hosts are made, and late, while they are set up. One that comes to its end
		// before it is killed leaves the others something to do.
		if kill([]time.Duration{4 * time.Second, 9 * time.Second}[n%2], upDroplets(3)...) {
			kills++
		} else {
			o.Lose(fmt.Sprintf("dropkill-%d", 1+random.IntN(3)))
		}
	}
	t.Log(o.call(upDroplets(3)...))
	if o.hosts() != "dropkill-1 dropkill-2 dropkill-3" || len(o.Firewalls()) != 1 || len(o.VPCs()) != len(digitaloceantest.Regions)+1 {
		t.Errorf("there are %s, %v, %v", o.hosts(), o.Firewalls(), o.VPCs())
	}
	o.isWhole(3)
	t.Log(o.call("apply", "-f", "."))

	for range 3 {
		kill(time.Second, "down", "--yes")
	}
	t.Log(o.call("down", "--yes"))
	if err := o.empty(); err != nil {
		t.Error(err)
	}
}

// isWhole looks at the droplets of a cluster that runs nothing yet: each has the daemons and images
// that it should, and no others; etcd has the members that it should; and there is no machine that no
// droplet has.
func (o *operator) isWhole(members int) {
	o.t.Helper()
	o.Wait()
	machines, err := o.net.Hosts()
	if err != nil || len(machines) != len(o.Droplets()) {
		o.t.Errorf("there are %d machines for %d droplets, %v", len(machines), len(o.Droplets()), err)
	}
	images := ""
	for _, d := range o.Droplets() {
		const look = `docker ps --all --format '{{.Names}} {{.State}}' | grep -v '^dokkaa-' | sort | xargs
			docker image ls --all --no-trunc --format '{{.Repository}}@{{.ID}}' | sort -u | xargs
			exec 3<>/dev/tcp/127.0.0.1/4001; printf 'GET /v2/members HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3; tail -n1 <&3`
		out, err := o.on(d, look)
		lines := strings.SplitN(out, "\n", 3)
		if err != nil || len(lines) < 3 {
			o.t.Errorf("host %s says %q, %v", d.Name, out, err)
			continue
		}
		daemons := "ambassador running conductor running etcd running gateway running skydns running"
		if lines[0] != daemons {
			o.t.Errorf("host %s runs %s", d.Name, lines[0])
		}
		if images = cmp.Or(images, lines[1]); lines[1] != images || strings.Contains(images, "<none>") || strings.Count(images, "sha256:") != 7 {
			o.t.Errorf("host %s has the images %s", d.Name, lines[1])
		}
		var etcd struct {
			Members []struct {
				Name       string   `json:"name"`
				ClientURLs []string `json:"clientURLs"`
			} `json:"members"`
		}
		if err := json.Unmarshal([]byte(lines[2]), &etcd); err != nil || len(etcd.Members) != members {
			o.t.Errorf("host %s, etcd's members: %q, %v", d.Name, lines[2], err)
		}
		for _, member := range etcd.Members {
			if member.Name == "" || len(member.ClientURLs) == 0 {
				o.t.Errorf("host %s: a member of etcd never started: %q", d.Name, lines[2])
			}
		}
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
