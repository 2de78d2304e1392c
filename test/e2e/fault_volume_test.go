//go:build faults

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

// db writes a word of its own into its volume when it finds it empty.
const db = `{` + hurry + `, "image": "dockerfile/ubuntu", "volumes": [{"name": "data", "path": "/data"}],
	"command": ["/bin/bash", "-c", "test -e /data/mark || echo $HOSTNAME-$RANDOM$RANDOM >/data/mark; sleep 100000"]}`

// mark is what db wrote into its volume.
func (c *cluster) mark() string {
	c.t.Helper()
	db := c.one("db")
	var mark string
	c.eventually(5*time.Second, "db has its mark", func() (err error) {
		mark, err = c.docker(db.host, "exec", db.id, "cat", "/data/mark")
		if err == nil && strings.TrimSpace(mark) == "" {
			err = errors.New("it is empty")
		}
		return err
	})
	return mark
}

// keepsVolume: what has a volume on a lost host waits for it, says so, and is there again with it.
func (c *cluster) keepsVolume(lost int) {
	c.place(lost, "db", db)
	c.calm(20 * time.Second)
	before, mark := c.one("db"), c.mark()
	bystanders := without(c.instances(""), lost)
	if err := c.hosts.Host(lost).PowerOff(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	why := fmt.Sprintf("waits for host %s, which has volume data", c.ip(lost))
	c.eventually(15*time.Second, "the status says what db waits for", func() error {
		s, err := c.status(c.aHost(), "db")
		if err == nil && (len(s.Slots) != 1 || !strings.Contains(s.Slots[0].Reason, why)) {
			err = fmt.Errorf("status %+v", s)
		}
		return err
	})
	pause(15 * time.Second)
	if all := c.instances("db"); len(all) > 0 {
		c.t.Errorf("db runs elsewhere: %+v", all)
	}
	if err := c.hosts.Host(lost).PowerOn(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	c.calm(40 * time.Second)
	if after := c.one("db"); after.id != before.id || after.host != lost {
		c.t.Errorf("before %+v, after %+v", before, after)
	}
	if after := c.mark(); after != mark {
		c.t.Errorf("the volume had %q and has %q", mark, after)
	}
	c.untouched(bystanders, "bystander", "db", "nginx", "crawler")
	c.remove(1, "db")
	c.gone(30*time.Second, "db")
	c.dokkaacfg("volume", "rm", "--yes", c.ip(before.host), "dummy---db---data")
}

// survivesPowerCutAtWork: the power fails while there is a volume, a job and an update under way.
// All of it comes to its end.
func (c *cluster) survivesPowerCutAtWork() {
	c.put(1, "db", db)
	c.healthy(10*time.Second, "db", 1)
	before, mark := c.one("db"), c.mark()
	const slow = `{"image": "dockerfile/nginx", "scale": 3, "env": {"ROUND": "%d"}, "services": {"nginx": 80}, "update": {"min_healthy_time": "4s"}}`
	c.put(1, "nginx", fmt.Sprintf(slow, 1))
	c.calm(60 * time.Second)
	c.put(1, "work", `{"image": "dockerfile/ubuntu", "mode": "job", "command": ["/bin/bash", "-c", "sleep 20"]}`)
	c.eventually(10*time.Second, "the job runs", func() error {
		if len(c.instances("work")) != 1 {
			return errors.New("it does not")
		}
		return nil
	})
	c.put(1, "nginx", fmt.Sprintf(slow, 2))
	c.eventually(10*time.Second, "the update is under way", func() error {
		s, err := c.status(1, "nginx")
		if err == nil && (s.Rollout == nil || s.Rollout.Phase != state.RolloutUpdating || s.Rollout.Updated == 0) {
			err = fmt.Errorf("status %+v", s)
		}
		return err
	})
	ctx := c.t.Context()
	c.each(func(host int) error { return c.hosts.Host(host).PowerOff(ctx) })
	c.each(func(host int) error { return c.hosts.Host(host).PowerOn(ctx) })
	start := time.Now()
	c.eventually(60*time.Second, "the update has ended", func() error {
		s, err := c.status(1, "nginx")
		if err == nil && (s.State != "running" || s.Reason != "") {
			err = fmt.Errorf("status %+v", s)
		}
		if err != nil {
			return err
		}
		return c.runsRound(2, 3)
	})
	c.eventually(60*time.Second, "the job has ended", func() error {
		s, err := c.status(1, "work")
		if err == nil && s.State != string(state.RunCompleted) {
			err = fmt.Errorf("status %+v", s)
		}
		return err
	})
	c.remove(1, "work")
	c.gone(20*time.Second, "work")
	c.calm(30 * time.Second)
	c.t.Logf("all is done %s after power on", time.Since(start).Round(100*time.Millisecond))
	if after := c.one("db"); after.id != before.id || after.host != before.host {
		c.t.Errorf("before %+v, after %+v", before, after)
	}
	if after := c.mark(); after != mark {
		c.t.Errorf("the volume had %q and has %q", mark, after)
	}
	c.put(1, "nginx", c.manifest("nginx"))
	c.remove(1, "db")
	c.gone(30*time.Second, "db")
	c.dokkaacfg("volume", "rm", "--yes", c.ip(before.host), "dummy---db---data")
	c.calm(60 * time.Second)
}
