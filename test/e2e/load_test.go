package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
)

// TestUnderLoad changes all that may be changed of a container while others use it: no request
// may fail.
func TestUnderLoad(t *testing.T) {
	t.Parallel() // it waits more than it works, and is held to no time that matters
	c := newCluster(t, "e2eload", "10.118.0.0/24", 2)
	c.up()
	c.web(3, "")
	c.healthy(10*time.Second, "web", 3)
	c.loader()

	underLoad(t, c, "a rolling update", (*cluster).rollsOut)
	underLoad(t, c, "an update while schedulers die", (*cluster).rollsOutWithoutSchedulers)
	underLoad(t, c, "an update to an image that is not there", (*cluster).rollsBackBadImage)
	underLoad(t, c, "an update that never gets healthy", (*cluster).rollsBackSick)
	underLoad(t, c, "scale up and down", (*cluster).scalesUpAndDown)
	underLoad(t, c, "a drain at scale 1", (*cluster).drains)
	underLoad(t, c, "a new version of the ambassador", (*cluster).replacesAmbassadors)
	underLoad(t, c, "an ambassador beside another", (*cluster).relievesAmbassadorByHand)
	underLoad(t, c, "datagrams beside it", (*cluster).sendsDatagrams)
	underLoad(t, c, "a host that joins", (*cluster).balancesOnJoin)
}

// underLoad runs a part of the scenario, and holds that requests were made all the time and that
// none of them failed.
func underLoad(t *testing.T, c *cluster, name string, run func(*cluster)) {
	t.Helper()
	step(t, c, name, func(c *cluster) { c.loaded(func() { run(c) }) })
}

// loaded holds that requests were made all the time while something was done, and that none failed.
func (c *cluster) loaded(do func()) {
	c.t.Helper()
	before := c.load()
	do()
	time.Sleep(2 * time.Second) // what is under way now counts too
	after := c.load()
	took := after.Time.Sub(before.Time)
	c.t.Logf("%d requests in %s, %d failed", after.OK-before.OK, took.Round(time.Second), after.Failed-before.Failed)
	if failed := after.Failed - before.Failed; failed > 0 {
		c.t.Errorf("%d requests failed: %s", failed, strings.Join(after.Errors, "; "))
	}
	if perSecond := float64(after.OK-before.OK) / took.Seconds(); perSecond < 2 {
		c.t.Errorf("only %.1f requests in a second", perSecond)
	}
}

// web puts a container that serves pages, with further fields.
func (c *cluster) web(scale int, fields string) {
	c.t.Helper()
	if !strings.Contains(fields, `"image"`) {
		fields = `"image": "dockerfile/nginx", ` + fields
	}
	c.put(1, "web", fmt.Sprintf(`{%s "scale": %d, "services": {"web": 80}, "checks": [{"type": "http", "interval": "1s", "start_interval": "100ms"}],
		"update": {"min_healthy_time": "2s", "healthy_deadline": "15s"}}`, fields, scale))
}

// loadReport is a line of the loader's output.
type loadReport struct {
	OK, Failed int
	Errors     []string
	Time       time.Time
}

// loader starts what makes the load. Its image is made here, so that all hosts have the same.
func (c *cluster) loader() {
	c.t.Helper()
	c.buildOnAll("loader")
	c.put(1, "loader", `{"image": "test/loader", "links": ["web"], "constraints": ["host.ip == `+c.ip(1)+`"]}`)
	c.healthy(10*time.Second, "loader", 1)
	c.eventually(10*time.Second, "there is load", func() error {
		if r := c.load(); r.OK < 20 || r.Failed > 0 {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
}

// load is how the loader's requests went so far.
func (c *cluster) load() (r loadReport) {
	c.t.Helper()
	loaders := c.instancesOn(1, "loader")
	if len(loaders) != 1 {
		c.t.Fatalf("loaders on host 1: %+v", loaders)
	}
	out := c.mustDocker(1, "logs", "--tail", "1", loaders[0].id)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		c.t.Fatalf("the loader says %q: %v", out, err)
	}
	return r
}

// settled waits until the web containers are as wanted, of the revision.
func (c *cluster) settled(stated time.Duration, scale, revision int) (s state.Status) {
	c.t.Helper()
	c.eventually(stated, fmt.Sprintf("%d of web at revision %d", scale, revision), func() (err error) {
		if s, err = c.status(1, "web"); err != nil {
			return err
		}
		if s.State != schedule.StateRunning || s.Healthy != scale || len(s.Slots) != scale || s.Revision != revision {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	return s
}

func (c *cluster) rollsOut() {
	before := c.instances("web")
	c.web(3, `"env": {"VERSION": "2"},`)
	c.settled(15*time.Second, 3, 2)
	c.goneAll(before)
}

// goneAll waits until none of the instances runs any more, and those that do have their names.
func (c *cluster) goneAll(before []instance) {
	c.t.Helper()
	c.eventually(40*time.Second, "the former instances are gone", func() error {
		for _, i := range c.instances("web") {
			if slices.Contains(before, i) || strings.Contains(i.name, "next") {
				return fmt.Errorf("%+v still runs", i)
			}
		}
		return nil
	})
}

// rollsOutWithoutSchedulers kills the scheduler twice in the middle of an update.
func (c *cluster) rollsOutWithoutSchedulers() {
	before := c.instances("web")
	c.web(3, `"env": {"VERSION": "3"},`)
	for range 2 {
		time.Sleep(2 * time.Second)
		c.kill(c.schedulerHost(), "conductor")
	}
	c.settled(40*time.Second, 3, 3)
	c.goneAll(before)
}

func (c *cluster) rollsBackBadImage() {
	before := c.instances("web")
	c.web(3, `"image": "test/there-is-no-such-image",`)
	c.fails(30*time.Second, "revision 4 failed", "there-is-no-such-image")
	c.saysWhyFailed(before, c.settled(10*time.Second, 3, 3))
}

func (c *cluster) rollsBackSick() {
	before := c.instances("web")
	c.web(3, `"command": ["sleep", "1000"],`)
	c.fails(40*time.Second, "revision 5 failed", "healthy within")
	c.saysWhyFailed(before, c.settled(10*time.Second, 3, 3))
}

// fails waits until the update has failed for a reason.
func (c *cluster) fails(stated time.Duration, what, why string) {
	c.t.Helper()
	c.eventually(stated, "the update has failed", func() error {
		s, err := c.status(1, "web")
		if err != nil || !strings.Contains(s.Reason, what) || !strings.Contains(s.Reason, why) {
			return fmt.Errorf("status %+v, err %v", s, err)
		}
		return nil
	})
}

// saysWhyFailed: what ran runs on, and the status still says what became of the update.
func (c *cluster) saysWhyFailed(before []instance, s state.Status) {
	c.t.Helper()
	if !strings.Contains(s.Reason, "failed: ") {
		c.t.Errorf("the status says: %q", s.Reason)
	}
	c.eventually(30*time.Second, "only the former instances run", func() error {
		if now := c.instances("web"); !slices.Equal(before, now) {
			return fmt.Errorf("before %+v, now %+v", before, now)
		}
		return nil
	})
}

func (c *cluster) scalesUpAndDown() {
	c.web(6, `"env": {"VERSION": "3"},`)
	c.eventually(10*time.Second, "6 of web are healthy", func() error {
		if s, err := c.status(1, "web"); err != nil || s.Healthy != 6 {
			return fmt.Errorf("%+v, err %v", s, err)
		}
		return nil
	})
	c.web(1, `"env": {"VERSION": "3"},`)
	c.healthy(30*time.Second, "web", 1)
}

// drains empties the host that the one instance is on. The loader cannot leave its own.
func (c *cluster) drains() {
	c.web(1, `"env": {"VERSION": "3"}, "apart": ["loader"],`)
	c.eventually(15*time.Second, "web is not where the loader is", func() error {
		if all := c.instances("web"); len(all) != 1 || all[0].host == 1 {
			return fmt.Errorf("%+v", all)
		}
		return nil
	})
	c.web(1, `"env": {"VERSION": "3"},`)
	host := c.one("web").host
	if out := c.dokkaacfg("host", "drain", c.ip(host)); !strings.Contains(out, "is empty") {
		c.t.Errorf("drain says:\n%s", out)
	}
	if at := c.one("web").host; at == host {
		c.t.Errorf("web is still on host %d", at)
	}
	c.dokkaacfg("host", "undrain", c.ip(host))
}

func (c *cluster) balancesOnJoin() {
	c.web(5, `"env": {"VERSION": "3"},`)
	c.eventually(15*time.Second, "5 of web are healthy", func() error {
		if s, err := c.status(1, "web"); err != nil || s.Healthy != 5 {
			return fmt.Errorf("%+v, err %v", s, err)
		}
		return nil
	})
	c.scale = 3
	c.up()
	c.eventually(45*time.Second, "every host has its share", func() error {
		counts := map[int]int{}
		for _, i := range c.instances("") {
			counts[i.host]++
		}
		if counts[1] != 2 || counts[2] != 2 || counts[3] != 2 {
			return fmt.Errorf("containers by host: %v", counts)
		}
		return nil
	})
}
