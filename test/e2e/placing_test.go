//go:build faults

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
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

// place puts a manifest so that its container comes to run on the given host, and goes elsewhere
// when that is lost.
func (c *cluster) place(host int, name, manifest string) {
	c.t.Helper()
	affinity := fmt.Sprintf(`{"affinities": [{"attribute": "host.ip", "operator": "==", "value": %q, "weight": 100}], `, c.ip(host))
	c.put(1, name, strings.Replace(manifest, "{", affinity, 1))
	c.healthy(10*time.Second, name, 1)
	if at := c.one(name).host; at != host {
		c.t.Fatalf("%s is on host %d, not %d", name, at, host)
	}
}
