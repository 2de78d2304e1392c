package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule"
)

// TestThreeHosts is everything else that a user is promised, on three hosts with an etcd member each.
func TestThreeHosts(t *testing.T) {
	c := newCluster(t, "e2ethree", "10.113.0.0/24", 3)
	c.up()
	step(t, c, "an image that never was: pending, with the reason", (*cluster).reportsMissingImage)
	step(t, c, "walk-through", (*cluster).walksThrough)
	step(t, c, "documented variables", (*cluster).hasDocumentedVariables)
	step(t, c, "resolvers", (*cluster).answersResolvers)
	step(t, c, "isolation", (*cluster).isIsolated)
	step(t, c, "nginx killed", (*cluster).survivesKill)
	step(t, c, "bad manifests", (*cluster).refusesBadManifests)
	step(t, c, "update", (*cluster).updates)
	step(t, c, "daemons killed", (*cluster).survivesDaemons)
	step(t, c, "etcd away", func(c *cluster) { c.survivesEtcdAway(20 * time.Second) })
	step(t, c, "scale 0 and back", (*cluster).scalesToZero)
	step(t, c, "nginx's host lost", func(c *cluster) { c.losesHost(c.one("nginx").host) })
	step(t, c, "manifest deleted", (*cluster).removes)
}

// manifest is an example's, with an update that does not take long.
func (c *cluster) manifest(name string) string {
	return strings.Replace(c.run("cat", name+".json"), "{", "{"+hurry+", ", 1)
}

// hurry has an instance count as good soon.
const hurry = `"update": {"min_healthy_time": "1s"}`

func (c *cluster) walksThrough() {
	c.put(1, "nginx", c.manifest("nginx"))
	c.put(2, "crawler", c.manifest("crawler"))
	c.healthy(10*time.Second, "nginx", 1)
	c.healthy(10*time.Second, "crawler", 1)
	c.sharesHosts()
	c.crawls(10*time.Second, "for the first time")
	c.freshRecord()
	out := c.dokkaacfg("status")
	for _, want := range []string{c.ip(1), c.ip(2), c.ip(3), "dummy/nginx", "dummy/crawler", "healthy"} {
		if !strings.Contains(out, want) {
			c.t.Errorf("status does not show %q:\n%s", want, out)
		}
	}
}

func (c *cluster) hasDocumentedVariables() {
	crawler := c.one("crawler")
	env := c.mustDocker(crawler.host, "inspect", "-f", "{{json .Config.Env}}", crawler.id)
	for _, want := range []string{"SERVICE_NGINX_ADDR=ambassador", "SERVICE_NGINX_PORT=10001", "BACKENDS_10001=nginx.dummy.skydns.local"} {
		if !strings.Contains(env, `"`+want+`"`) {
			c.t.Errorf("no %s in %s", want, env)
		}
	}
}

func (c *cluster) survivesKill() {
	nginx := c.one("nginx")
	c.mustDocker(nginx.host, "kill", nginx.id)
	c.crawls(10*time.Second, "after nginx was killed")
	c.healthy(10*time.Second, "nginx", 1)
	if again := c.one("nginx"); again.host != nginx.host || again.startedAt == nginx.startedAt {
		c.t.Errorf("before %+v, now %+v", nginx, again)
	}
	c.freshRecord()
}

func (c *cluster) scalesToZero() {
	c.nginx(0)
	c.eventually(30*time.Second, "nothing runs at scale 0", func() error {
		if all := c.instances("nginx"); len(all) > 0 {
			return fmt.Errorf("%+v", all)
		}
		answers, err := c.srv(2, "nginx.dummy.skydns.local")
		if err == nil && len(answers) > 0 {
			err = fmt.Errorf("dig says %v", answers)
		}
		return err
	})
	c.nginx(1)
	c.healthy(10*time.Second, "nginx", 1)
	c.crawls(10*time.Second, "back from scale 0")
	if c.one("nginx").host == c.one("crawler").host {
		c.t.Error("nginx came back to the crawler's host")
	}
}

func (c *cluster) removes() {
	c.remove(2, "nginx")
	c.gone(30*time.Second, "nginx")
	keys, err := c.keys(1, "/skydns")
	if err != nil {
		c.t.Fatal(err)
	}
	if len(keys) > 0 {
		c.t.Errorf("records are left: %v", keys)
	}
}

// gone waits until containers and keys of a removed manifest are gone.
func (c *cluster) gone(stated time.Duration, name string) {
	c.t.Helper()
	c.eventually(stated, name+" is gone", func() error {
		keys, err := c.keys(c.aHost(), "/apps/dummy/"+name)
		if err != nil {
			return err
		}
		if all := c.instances(name); len(keys) > 0 || len(all) > 0 {
			return fmt.Errorf("left: %v, %+v", keys, all)
		}
		return nil
	})
}

func (c *cluster) reportsMissingImage() {
	c.put(1, "ghost", `{"image": "`+c.hosts.MachineIP().String()+`:1/no/such:image"}`)
	c.eventually(20*time.Second, "the reason is in the status", func() error {
		s, err := c.status(1, "ghost")
		if err != nil {
			return err
		}
		if s.State != schedule.StatePending || len(s.Slots) != 1 || !strings.Contains(s.Slots[0].Reason, "pull image") {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	c.remove(1, "ghost")
	c.gone(20*time.Second, "ghost")
}

// refusesBadManifests: each has its reason in the status, and hurts neither itself nor others.
func (c *cluster) refusesBadManifests() {
	before := c.instances("")
	long := strings.Repeat("n", 300)
	for name, test := range map[string]struct{ container, manifest, reason string }{
		"no JSON":          {"nginx", `{"image": `, "is not JSON"},
		"unknown field":    {"nginx", `{"image": "dockerfile/nginx", "scael": 2}`, "scael: unknown field"},
		"negative scale":   {"nginx", `{"image": "dockerfile/nginx", "scale": -1}`, "scale: must be between 0 and 10000, is -1"},
		"long name":        {long, `{"image": "dockerfile/nginx"}`, "name: is 300 characters long"},
		"cannot be pulled": {"nginx", `{"image": "` + c.hosts.MachineIP().String() + `:1/no/such", "services": {"nginx": 80}}`, "pull image"},
	} {
		c.put(1, test.container, test.manifest)
		c.eventually(10*time.Second, name+": the reason is in the status", func() error {
			s, err := c.status(1, test.container)
			if err != nil {
				return err
			}
			if text, _ := json.Marshal(s); !strings.Contains(string(text), test.reason) {
				return fmt.Errorf("status %s", text)
			}
			return nil
		})
		if out := c.dokkaacfg("status"); !strings.Contains(out, test.reason) {
			c.t.Errorf("%s: dokkaacfg status does not say %q:\n%s", name, test.reason, out)
		}
		if after := c.instances(""); !slices.Equal(before, after) {
			c.t.Errorf("%s: before %+v, after %+v", name, before, after)
		}
	}
	c.crawls(5*time.Second, "with bad manifests")
	c.remove(1, long)
	c.gone(5*time.Second, long)
	c.put(1, "nginx", c.manifest("nginx"))
	c.healthy(10*time.Second, "nginx", 1)
	if after := c.instances(""); !slices.Equal(before, after) {
		c.t.Errorf("after the former manifest: before %+v, after %+v", before, after)
	}
}

// updates: a changed manifest starts a new instance before the old one stops, and the crawler
// sees no gap.
func (c *cluster) updates() {
	before := c.one("nginx")
	c.put(1, "nginx", `{`+hurry+`, "image": "dockerfile/nginx", "env": {"COLOUR": "blue"}, "services": {"nginx": 80}}`)
	most := 0
	c.eventually(30*time.Second, "updated", func() error {
		all := c.instances("nginx")
		if len(all) == 0 {
			c.t.Fatal("nothing runs during the update")
		}
		most = max(most, len(all))
		if len(all) != 1 || all[0].id == before.id || all[0].name != "dummy---nginx" {
			return fmt.Errorf("%+v", all)
		}
		return nil
	})
	if most != 2 {
		c.t.Errorf("at most %d ran at once, want 2: the new one beside the old", most)
	}
	c.healthy(10*time.Second, "nginx", 1)
	c.crawls(5*time.Second, "after the update")
	blue, err := c.status(1, "nginx")
	if err != nil {
		c.t.Fatal(err)
	}
	c.put(1, "nginx", c.manifest("nginx"))
	c.eventually(30*time.Second, "updated back", func() error {
		if s, err := c.status(1, "nginx"); err != nil || s.Revision == blue.Revision || s.State != schedule.StateRunning || len(c.instances("nginx")) != 1 {
			return fmt.Errorf("status %+v, %v", s, err)
		}
		return nil
	})
}
