package dokkaacfg

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/internal/state"
)

func TestApply(t *testing.T) {
	c := newTestCluster(t)
	dir := manifestTree(t, map[string]string{
		"dummy/nginx.json":   `{"image": "nginx", "services": {"nginx": 80}}`,
		"dummy/crawler.json": `{"image": "ubuntu", "links": ["nginx", "other/redis"], "secrets": ["password"]}`,
	})
	nginx, crawler := state.Ref{App: "dummy", Name: "nginx"}, state.Ref{App: "dummy", Name: "crawler"}
	out := c.mustRun("apply", "-f", dir+"/dummy", "--dry-run")
	for _, told := range []string{"dummy/nginx: new: 1 instance\n  + image: \"nginx\"\n  + services.nginx: 80\n",
		"dummy/crawler links to other/redis, which no container offers yet", "dummy/crawler needs secret dummy/password, which is not set: dokkaacfg secret set dummy/password"} {
		if !strings.Contains(out, told) {
			t.Errorf("it does not tell of %q:\n%s", told, out)
		}
	}
	if strings.Contains(out, "links to dummy/nginx") || strings.Contains(out, "\x1b") || c.value(nginx.ManifestKey()) != "(none)" {
		t.Errorf("a dry run wrote, or told of what is there:\n%s", out)
	}
	c.mustRun("apply", "-f", dir+"/dummy", "--detach")
	if c.value(nginx.ManifestKey()) != `{"image": "nginx", "services": {"nginx": 80}}` || c.value(crawler.ManifestKey()) == "(none)" {
		t.Errorf("the manifests are %s and %s", c.value(nginx.ManifestKey()), c.value(crawler.ManifestKey()))
	}
	// What is in force already is not written again.
	node, err := c.keys.Get(t.Context(), nginx.ManifestKey())
	if err != nil {
		t.Fatal(err)
	}
	c.mustRun("apply", "-f", dir+"/dummy/nginx.json", "--detach")
	if again, err := c.keys.Get(t.Context(), nginx.ManifestKey()); err != nil || again.Modified != node.Modified {
		t.Errorf("it was written again: %+v, %v", again, err)
	}
	// One that is wrong keeps the other from being written.
	bundle := `{"dummy/nginx": {"image": "nginx:2"}, "dummy/crawler": {"image": "ubuntu", "scael": 3}}`
	if _, err := c.run(bundle, "apply", "-f", "-"); err == nil || !strings.Contains(err.Error(), "scael: unknown field") || !strings.Contains(err.Error(), "nothing was applied") {
		t.Errorf("a wrong manifest: %v", err)
	}
	if again, err := c.keys.Get(t.Context(), nginx.ManifestKey()); err != nil || again.Modified != node.Modified {
		t.Errorf("it was written: %+v, %v", again, err)
	}
	c.fails("required flag(s) \"file\" not set", "apply", "dummy/nginx")
	if err := putManifest(t.Context(), clusterKeys{Store: c.keys}, nginx, "{}", node.Modified-1); err == nil || !strings.Contains(err.Error(), "somebody else wrote") {
		t.Errorf("a lost race: %v", err)
	}
}

// The wait for several goes on when one fails, and each failure is told.
func TestApplyWaitsForAll(t *testing.T) {
	c := newTestCluster(t)
	good, bad := state.Ref{App: "a", Name: "good"}, state.Ref{App: "a", Name: "bad"}
	c.put(good.RevisionKey(1), `{"modified": 100000}`, good.StatusKey(), `{"wanted": 1, "healthy": 1, "running": 1, "revision": 1, "state": "running"}`,
		bad.RevisionKey(1), `{"modified": 100000, "verdict": "failed", "reason": "port 80 refuses"}`,
		bad.StatusKey(), `{"wanted": 1, "revision": 1, "state": "failed", "slots": [{"slot": 1, "phase": "failed", "log": ["bind: permission denied"]}]}`)
	out, err := c.run(`{"a/bad": {"image": "x"}, "a/good": {"image": "x"}}`, "apply", "-f", "-")
	if err == nil || err.Error() != "revision 1 of a/bad failed: port 80 refuses" {
		t.Errorf("it says %v", err)
	}
	for _, told := range []string{"| bind: permission denied", "a/good: running, 1 of 1 healthy"} {
		if !strings.Contains(out, told) {
			t.Errorf("it does not tell of %q:\n%s", told, out)
		}
	}
}

func TestPsAndInspect(t *testing.T) {
	c := newTestCluster(t)
	if out := c.mustRun("ps"); out != "No instances.\n" {
		t.Errorf("of nothing: %s", out)
	}
	c.fails("there is nothing of dummy", "ps", "dummy")
	ref := state.Ref{App: "dummy", Name: "nginx"}
	c.put(ref.ManifestKey(), `{"image": "x", "env": {"A": "yes"}}`, ref.RevisionKey(1), `{"manifest": {"image": "x"}, "modified": 1, "verdict": "healthy"}`,
		ref.SlotKey(1), `{"current": {"host": "10.101.0.1", "instance": "i1", "revision": 1}, "next": {"host": "10.101.0.2", "instance": "i2", "revision": 2}}`,
		state.InstanceKey("10.101.0.1", "i1"), `{"app": "dummy", "name": "nginx", "slot": 1, "revision": 1, "phase": "healthy", "ports": {"web": 32768}}`,
		state.InstanceKey("10.101.0.1", "i0"), `{"app": "dummy", "name": "nginx", "slot": 1, "revision": 1, "phase": "stopping", "restarts": 2}`)
	c.lease("10.101.0.1", "{}")
	c.lease("10.101.0.2", "{}")
	const want = `INSTANCE                  HOST        PHASE     FOR  REVISION  RESTARTS  PORTS      ID  WHY
dummy/nginx 1             10.101.0.1  healthy   -    1                   web=32768  i1
dummy/nginx 1 (next)      10.101.0.2  -         -    2                              i2  its host has not taken it up yet
dummy/nginx 1 (outgoing)  10.101.0.1  stopping  -    1         2                    i0
`
	for _, of := range []string{"", "dummy", "dummy/nginx"} {
		if out := c.mustRun(append([]string{"ps"}, strings.Fields(of)...)...); out != want {
			t.Errorf("ps %s says\n%s", of, out)
		}
	}
	var rows []instanceReport
	if err := json.Unmarshal([]byte(c.mustRun("ps", "-o", "json")), &rows); err != nil || len(rows) != 3 || rows[1].Role != roleNext {
		t.Errorf("as JSON: %+v, %v", rows, err)
	}
	var details containerDetails
	if err := json.Unmarshal([]byte(c.mustRun("inspect", "dummy/nginx", "-o", "json")), &details); err != nil || len(details.Instances) != 3 || details.Revisions[0].Verdict != state.VerdictHealthy {
		t.Errorf("inspect: %+v, %v", details, err)
	}
	if out := c.mustRun("inspect", "dummy/nginx"); !strings.Contains(out, "manifest:\n  image: x\n  env:\n    A: \"yes\"\n") {
		t.Errorf("as YAML: %s", out)
	}
	c.delete("/hosts/10.101.0.1/lease")
	if out := c.mustRun("ps"); !strings.Contains(out, "its host is lost, this is how it was") {
		t.Errorf("with a lost host: %s", out)
	}
}

func TestStopStartRestart(t *testing.T) {
	c := newTestCluster(t)
	ref := state.Ref{App: "dummy", Name: "nginx"}
	c.put(ref.ManifestKey(), `{"image": "x", "scale": 2}`)
	c.mustRun("stop", "dummy/nginx", "--detach")
	if value := c.value(ref.ScaleKey()); !strings.HasPrefix(value, `{"scale":0,`) {
		t.Errorf("stopped: %s", value)
	}
	c.mustRun("start", "dummy/nginx", "--detach")
	if value := c.value(ref.ScaleKey()); value != "(none)" {
		t.Errorf("started: %s", value)
	}
	c.mustRun("scale", "dummy/nginx=5", "--detach")
	if out := c.mustRun("start", "dummy/nginx", "--detach"); !strings.Contains(out, "was not stopped") || !strings.Contains(c.value(ref.ScaleKey()), "5") {
		t.Errorf("started although it ran: %s, %s", out, c.value(ref.ScaleKey()))
	}
	for _, want := range []string{"1", "2"} {
		if c.mustRun("restart", "dummy/nginx", "--detach"); c.value(ref.RestartKey()) != want {
			t.Errorf("restarted: %s, want %s", c.value(ref.RestartKey()), want)
		}
	}
	// One that cannot be stopped does not hinder the others.
	global := state.Ref{App: "dummy", Name: "logs"}
	c.put(global.ManifestKey(), `{"image": "x", "mode": "global"}`)
	c.fails("dummy/logs has mode global: it has no scale", "stop", "dummy/logs", "dummy/nginx", "--detach")
	if value := c.value(ref.ScaleKey()); !strings.HasPrefix(value, `{"scale":0,`) {
		t.Errorf("stopped with another: %s", value)
	}
	c.fails("there is no container dummy/none", "restart", "dummy/none")
}

// A revision from before the restart is not waited for.
func TestWaitForRestart(t *testing.T) {
	c := newTestCluster(t)
	ref := state.Ref{App: "dummy", Name: "nginx"}
	c.put(ref.ManifestKey(), `{"image": "x"}`, ref.RestartKey(), "2", ref.RevisionKey(1), `{"modified": 100000, "versions": {"restart": 1}}`,
		ref.StatusKey(), `{"wanted": 1, "healthy": 1, "running": 1, "revision": 1, "state": "running"}`)
	c.fails("is not there after 1ms", "wait", "dummy/nginx", "--timeout=1ms")
	c.put(ref.RevisionKey(1), `{"modified": 100000, "versions": {"restart": 2}}`)
	c.mustRun("wait", "dummy/nginx")
}

func TestRollback(t *testing.T) {
	c := newTestCluster(t)
	ref := state.Ref{App: "dummy", Name: "nginx"}
	c.put(ref.ManifestKey(), `{"image": "x:2", "scale": 3}`)
	c.fails("roll back dummy/nginx: no other revision was healthy", "rollback", "dummy/nginx")
	c.put(ref.RevisionKey(1), `{"manifest": {"image": "x:1", "scale": 1}, "verdict": "healthy"}`, ref.RevisionKey(2), `{"manifest": {"image": "x:2"}}`)
	out := c.mustRun("rollback", "dummy/nginx", "--detach")
	if !strings.Contains(out, "the manifest of revision 1 again") || c.value(ref.ManifestKey()) != `{"image":"x:1","scale":3}` {
		t.Errorf("it says %s; the manifest is %s", out, c.value(ref.ManifestKey()))
	}
}

func TestRm(t *testing.T) {
	c := newTestCluster(t)
	web, db := state.Ref{App: "shop", Name: "web"}, state.Ref{App: "shop", Name: "db"}
	c.put(web.ManifestKey(), `{"image": "x"}`, db.ManifestKey(), `{"image": "x"}`, "/apps/shopping/web/manifest", `{"image": "x"}`,
		db.SlotKey(1), `{"current": {"host": "10.101.0.1", "instance": "i1"}}`,
		state.VolumeKey("10.101.0.1", "shop---db---data"), `{"app": "shop", "name": "db", "volume": "data"}`)
	c.fails(`there is no container of "blog"`, "rm", "shop", "blog", "--yes")
	if _, err := c.run("no\n", "rm", "shop"); err == nil || c.value(web.ManifestKey()) == "(none)" {
		t.Errorf("it removed what it was not told to: %v", err)
	}
	c.fails("after 1ms there is still 1 instance", "rm", "shop", "--yes", "--timeout=1ms")
	if c.value(web.ManifestKey()) != "(none)" || c.value(db.ManifestKey()) != "(none)" || c.value("/apps/shopping/web/manifest") == "(none)" {
		t.Error("it removed the wrong manifests")
	}
	c.put(db.ManifestKey(), `{"image": "x"}`)
	c.delete(db.SlotKey(1))
	if out := c.mustRun("rm", "shop/db", "--yes"); !strings.Contains(out, "shop/db is removed") || !strings.Contains(out, "dokkaacfg volume rm 10.101.0.1 shop---db---data removes it") {
		t.Errorf("it says %s", out)
	}
}
