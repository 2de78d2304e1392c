//go:build faults

package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// role is what a host is to the cluster.
type role string

const (
	scheduler role = "scheduler"
	leader    role = "etcd leader"
	neither   role = "neither"
)

// hostWith is the number of a host that has the role.
func (c *cluster) hostWith(r role) int {
	c.t.Helper()
	schedules, leads := c.schedulerHost(), c.leaderHost()
	c.t.Logf("host %d schedules, host %d leads etcd", schedules, leads)
	switch r {
	case scheduler:
		return schedules
	case leader:
		return leads
	}
	for n := 1; ; n++ {
		if n != schedules && n != leads {
			return n
		}
	}
}

// leaderHost is the number of the host whose etcd member leads, as most members see it: one that
// was cut off still believes in itself for a while.
func (c *cluster) leaderHost() (host int) {
	c.t.Helper()
	c.eventually(10*time.Second, "etcd has a leader", func() error {
		members, votes := map[string]int{}, map[string]int{}
		for n := 1; n <= c.scale; n++ {
			out, err := c.try("curl", "-sS", "--max-time", "1", "http://"+c.ip(n)+":2379/v2/stats/self")
			if err != nil {
				continue // a member that does not answer has no vote
			}
			var self struct {
				ID         string
				LeaderInfo struct{ Leader string }
			}
			if err := json.Unmarshal([]byte(out), &self); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			members[self.ID] = n
			votes[self.LeaderInfo.Leader]++
		}
		for id, count := range votes {
			if n, answers := members[id]; answers && 2*count > c.scale {
				host = n
				return nil
			}
		}
		return fmt.Errorf("members %v see as leaders %v", members, votes)
	})
	return host
}

// nginxOn has nginx run on the host with a role, and the crawler on another.
func (c *cluster) nginxOn(r role) (host int) {
	c.t.Helper()
	host = c.hostWith(r)
	c.nginxOnHost(host)
	if r != neither && c.hostWith(r) != host {
		c.t.Fatalf("host %d is not %s any more", host, r)
	}
	return host
}

func (c *cluster) nginxOnHost(host int) {
	c.t.Helper()
	if c.one("nginx").host == host && c.one("crawler").host != host {
		return
	}
	c.remove(1, "nginx")
	c.remove(1, "crawler")
	c.gone(30*time.Second, "nginx")
	c.gone(30*time.Second, "crawler")
	c.place(host, "nginx", c.manifest("nginx"))
	c.place(host%c.scale+1, "crawler", c.manifest("crawler"))
	c.calm(10 * time.Second)
}

// place puts a manifest so that its container comes to run on the given host. The scheduler takes
// the emptiest one, so the others are filled up before.
func (c *cluster) place(host int, name, manifest string) {
	c.t.Helper()
	fillers := map[string]int{} // to their hosts
	for !c.wouldBeEmptiest(host, fillers) {
		filler := fmt.Sprintf("filler%d", len(fillers))
		c.put(1, filler, `{"image": "dockerfile/ubuntu", "command": ["sleep", "100000"]}`)
		c.eventually(10*time.Second, filler+" runs", func() error {
			if all := c.instances(filler); len(all) != 1 {
				return fmt.Errorf("%d instances", len(all))
			}
			return nil
		})
		fillers[filler] = c.one(filler).host
	}
	c.removeFillers(fillers, func(at int) bool { return at == host })
	c.put(1, name, manifest)
	c.healthy(10*time.Second, name, 1)
	if at := c.one(name).host; at != host {
		c.t.Fatalf("%s is on host %d, not %d", name, at, host)
	}
	c.removeFillers(fillers, func(int) bool { return true })
}

// wouldBeEmptiest tells whether the host, without the fillers on it, has fewer containers than
// each other one.
func (c *cluster) wouldBeEmptiest(host int, fillers map[string]int) bool {
	counts := map[int]int{}
	for _, i := range c.instances("") {
		if _, filler := fillers[i.of]; !filler || i.host != host {
			counts[i.host]++
		}
	}
	for n := 1; n <= c.scale; n++ {
		if n != host && counts[n] <= counts[host] {
			return false
		}
	}
	return true
}

func (c *cluster) removeFillers(fillers map[string]int, which func(host int) bool) {
	c.t.Helper()
	var removed []string
	for filler, at := range fillers {
		if which(at) {
			c.remove(1, filler)
			removed = append(removed, filler)
		}
	}
	for _, filler := range slices.Sorted(slices.Values(removed)) {
		c.gone(20*time.Second, filler)
		delete(fillers, filler)
	}
}
