package dokkaacfg

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

func TestScale(t *testing.T) {
	c := newTestCluster(t)
	ref := state.Ref{App: "dummy", Name: "nginx"}
	c.fails("there is no container dummy/nginx", "scale", "dummy/nginx=3", "--detach")
	c.put(ref.ManifestKey(), `{"image": "x", "scale": 2}`)
	node, err := c.keys.Get(t.Context(), ref.ManifestKey())
	if err != nil {
		t.Fatal(err)
	}
	want := asJSON(state.Scale{Scale: 5, Modified: node.Modified})
	if out := c.mustRun("scale", "dummy/nginx=5", "--detach"); !strings.Contains(out, "has scale 5 now, instead of the manifest's 2") || c.value(ref.ScaleKey()) != want {
		t.Errorf("it says %s; the key is %s, want %s", out, c.value(ref.ScaleKey()), want)
	}
	if out := c.mustRun("scale", "dummy/nginx=2", "--detach"); !strings.Contains(out, "as its manifest says") || c.value(ref.ScaleKey()) != "(none)" {
		t.Errorf("it says %s; the key is %s", out, c.value(ref.ScaleKey()))
	}
	c.fails("there can be 0 to 10000 instances", "scale", "dummy/nginx=10001", "--detach")
	c.put(ref.ManifestKey(), `{"image": "x", "mode": "global"}`)
	c.fails("has mode global: it has no scale", "scale", "dummy/nginx=1", "--detach")
	c.put(ref.ManifestKey(), `{`)
	c.fails("is refused", "scale", "dummy/nginx=1", "--detach")
}

func TestPromote(t *testing.T) {
	c := newTestCluster(t)
	ref := state.Ref{App: "dummy", Name: "nginx"}
	c.put(ref.ManifestKey(), `{}`)
	c.fails("there is no update of dummy/nginx that waits", "promote", "dummy/nginx")
	c.put(ref.RolloutKey(), asJSON(state.Rollout{From: 1, To: 2, Phase: state.RolloutUpdating}))
	c.fails("to revision 2 does not wait: it is updating", "promote", "dummy/nginx")
	c.put(ref.RolloutKey(), asJSON(state.Rollout{From: 1, To: 2, Phase: state.RolloutCanary}))
	if out := c.mustRun("promote", "dummy/nginx", "--detach"); out != "revision 2 of dummy/nginx goes to all instances\n" || c.value(ref.PromoteKey()) != "2" {
		t.Errorf("it says %s; the key is %s", out, c.value(ref.PromoteKey()))
	}
	var usage usageError
	if _, err := c.run("", "promote", "nginx"); !errors.As(err, &usage) {
		t.Errorf("no name: %v", err)
	}
}

func TestWait(t *testing.T) {
	c := newTestCluster(t)
	ref := state.Ref{App: "dummy", Name: "nginx"}
	c.put(ref.ManifestKey(), `{"image": "x"}`, ref.RevisionKey(1), `{"modified": 1}`, ref.StatusKey(), `{"wanted": 1, "healthy": 1, "running": 1, "revision": 1, "state": "running"}`)
	// What there is is not about this manifest.
	c.fails("dummy/nginx is not there after 1ms: dummy/nginx: running, 1 of 1 healthy, revision 1", "wait", "dummy/nginx", "--timeout=1ms")
	done := make(chan string)
	go func() { done <- c.mustRun("wait", "dummy/nginx") }()
	c.put(ref.RevisionKey(2), `{"modified": 100000}`,
		ref.RolloutKey(), asJSON(state.Rollout{From: 1, To: 2, Phase: state.RolloutUpdating}),
		ref.StatusKey(), `{"wanted": 1, "healthy": 1, "running": 1, "revision": 1, "state": "updating", "slots": [{"slot": 1, "phase": "running", "reason": "port 80 refuses"}]}`)
	time.Sleep(2 * followInterval)
	c.delete(ref.RolloutKey())
	c.put(ref.StatusKey(), `{"wanted": 1, "healthy": 1, "running": 1, "revision": 2, "state": "running"}`)
	out := <-done
	for _, told := range []string{"dummy/nginx: updating, 1 of 1 healthy, revision 1; 1: port 80 refuses", "dummy/nginx: running, 1 of 1 healthy, revision 2 ("} {
		if !strings.Contains(out, told) {
			t.Errorf("it does not tell of %q:\n%s", told, out)
		}
	}
}

// A secret that was written anew is part of what is waited for.
func TestWaitForSecret(t *testing.T) {
	c := newTestCluster(t)
	ref := state.Ref{App: "dummy", Name: "web"}
	c.put(ref.ManifestKey(), webManifest, state.SecretKey("dummy", "password", 3), "x", state.ConfigKey("dummy", "site.conf", 1), "x",
		ref.RevisionKey(1), `{"modified": 100000, "versions": {"secrets": {"password": 2}, "configs": {"site.conf": 1}}}`,
		ref.StatusKey(), `{"wanted": 1, "healthy": 1, "running": 1, "revision": 1, "state": "running"}`)
	c.fails("is not there after 1ms", "wait", "dummy/web", "--timeout=1ms")
	c.put(ref.RevisionKey(1), `{"modified": 100000, "versions": {"secrets": {"password": 3}, "configs": {"site.conf": 1}}}`)
	c.mustRun("wait", "dummy/web")
}

func TestWhatWaitWaitsFor(t *testing.T) {
	const healthy = `{"wanted": 2, "running": 2, "healthy": 2, "revision": 3, "state": "running"}`
	rollout := func(phase state.RolloutPhase) map[string]string {
		return map[string]string{"rollout": asJSON(state.Rollout{From: 2, To: 3, Phase: phase, Reason: "why"}), "status": strings.Replace(healthy, "running\"}", "updating\"}", 1)}
	}
	const job = `{"image": "x", "mode": "job"}`
	tests := map[string]struct {
		keys   map[string]string
		canary bool
		before bool   // the manifest was written again since
		gaveUp string // what an instance did, and why
		done   bool
		fails  string
	}{
		"healthy":            {keys: nil, done: true},
		"stopped":            {keys: map[string]string{"manifest": `{"image": "x", "scale": 0}`, "status": `{"revision": 3, "state": "stopped"}`}, done: true},
		"before the scale":   {keys: map[string]string{"scale": `{"scale": 3, "modified": 10}`}},
		"after the scale":    {keys: map[string]string{"manifest": `{"image": "x", "scale": 1}`, "scale": `{"scale": 2, "modified": 10}`}, done: true},
		"an old scale":       {keys: map[string]string{"scale": `{"scale": 2, "modified": 9}`}},
		"global":             {keys: map[string]string{"manifest": `{"image": "x", "mode": "global"}`}, done: true},
		"one too few":        {keys: map[string]string{"status": strings.Replace(healthy, `"healthy": 2`, `"healthy": 1`, 1)}},
		"one too many":       {keys: map[string]string{"status": strings.Replace(healthy, `"running": 2`, `"running": 3`, 1)}},
		"one waits":          {keys: map[string]string{"status": strings.Replace(healthy, `"revision"`, `"waiting": ["x"], "revision"`, 1)}},
		"earlier revision":   {keys: map[string]string{"status": strings.Replace(healthy, "3", "2", 1)}},
		"not looked at":      {keys: map[string]string{"revisions/3": `{"modified": 9}`}},
		"no status":          {keys: map[string]string{"status": ""}},
		"refused":            {keys: map[string]string{"status": `{"errors": ["image: is missing", "scael: unknown field"]}`}, fails: "is refused:\n  image: is missing\n  scael: unknown field"},
		"removed":            {keys: map[string]string{"manifest": ""}, fails: "was removed meanwhile"},
		"failed":             {keys: map[string]string{"revisions/3": `{"modified": 10, "verdict": "failed", "reason": "port 80 refuses"}`}, fails: "revision 3 of a/b failed: port 80 refuses"},
		"updating":           {keys: rollout(state.RolloutUpdating)},
		"canary":             {keys: rollout(state.RolloutCanary)},
		"canary is enough":   {keys: rollout(state.RolloutCanary), canary: true, done: true},
		"rolling back":       {keys: map[string]string{"rollout": `{"from": 3, "to": 2, "phase": "rolling back"}`, "revisions/3": `{"modified": 10, "verdict": "failed", "reason": "why"}`}, fails: "revision 3 of a/b failed: why"},
		"paused":             {keys: rollout(state.RolloutPaused), fails: "it is paused: why"},
		"paused before":      {keys: rollout(state.RolloutPaused), before: true},
		"came up nowhere":    {keys: map[string]string{"status": strings.Replace(healthy, `"healthy": 2`, `"healthy": 1`, 1)}, gaveUp: "no such image", fails: "revision 3 of a/b does not come up: no such image"},
		"does not in update": {keys: rollout(state.RolloutUpdating), gaveUp: "no such image"},
		"job before its run": {keys: map[string]string{"manifest": job, "status": `{"revision": 3, "wanted": 1, "state": "pending"}`}},
		"job runs":           {keys: map[string]string{"manifest": job, "runs/3": `{"phase": "running"}`}},
		"job completed":      {keys: map[string]string{"manifest": job, "runs/3": `{"phase": "completed", "exit_code": 0}`, "runs/2": `{"phase": "failed"}`}, done: true},
		"job failed":         {keys: map[string]string{"manifest": job, "runs/3": `{"phase": "failed", "exit_code": 2, "reason": "why"}`}, fails: "the run of a/b: failed with exit code 2; why"},
		"job by the clock":   {keys: map[string]string{"manifest": `{"image": "x", "mode": "job", "schedule": "@hourly"}`, "status": `{"revision": 3, "state": "scheduled"}`}, done: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			keys := map[string]string{"manifest": `{"image": "x", "scale": 2}`, "status": healthy, "revisions/2": `{"modified": 5}`, "revisions/3": `{"modified": 10}`}
			for key, value := range test.keys {
				keys[key] = value
			}
			p := newProgress(t.Output())
			w := waiting{ref: state.Ref{App: "a", Name: "b"}, canary: test.canary, progress: p, step: p.step("", "a/b"), since: testNow}
			app := appOf(keys)
			if test.before {
				app.manifest.Modified, app.revisions[3] = 20, state.Revision{Modified: 20}
			}
			if test.gaveUp != "" {
				app.failed = []state.Observed{{Revision: 2, GaveUp: true, Reason: "not this"}, {Revision: 3, GaveUp: true, Reason: test.gaveUp}}
			}
			done, err := w.look(app, testNow)
			if done != test.done || (err != nil) != (test.fails != "") || err != nil && !strings.Contains(err.Error(), test.fails) {
				t.Errorf("done %v, %v; want %v, %q", done, err, test.done, test.fails)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	c := newTestCluster(t)
	const shown = "SETTING           VALUE  DEFAULT\nhost_lease        %s     8s\nhost_lease_renew  %s     2s\n"
	show := func(lease, renew string) string {
		return strings.Replace(strings.Replace(shown, "%s", lease, 1), "%s", renew, 1)
	}
	for _, step := range []struct{ args, says, value string }{
		{"", show("8s", "2s"), "(none)"},
		{"host_lease=4s host_lease_renew=1s", show("4s", "1s"), `{"host_lease":"4s","host_lease_renew":"1s"}`},
		{"", show("4s", "1s"), `{"host_lease":"4s","host_lease_renew":"1s"}`},
		{"host_lease=", show("8s", "1s"), `{"host_lease_renew":"1s"}`},
		{"host_lease_renew=", show("8s", "2s"), "(none)"},
	} {
		if out := c.mustRun(append([]string{"settings"}, strings.Fields(step.args)...)...); out != step.says || c.value(state.SettingsKey) != step.value {
			t.Errorf("settings %s: %s is %s; it says\n%s", step.args, state.SettingsKey, c.value(state.SettingsKey), out)
		}
	}
	for bad, says := range map[string]string{
		"lease=4s": "settings are host_lease, host_lease_renew", "host_lease": "does not have the form", "host_lease=soon": "must be a duration such as 8s",
		"host_lease=4s": "at most a third of host_lease", "host_lease=1s": "from 2s to 1h", "host_lease=2500ms": "whole seconds", "host_lease_renew=1ms": "at least 100ms",
	} {
		var usage usageError
		if _, err := c.run("", "settings", bad); !errors.As(err, &usage) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	// What a later version wrote stays.
	c.put(state.SettingsKey, `{"host_lease": "9s", "news": {"a": 1}}`)
	if c.mustRun("settings", "host_lease="); c.value(state.SettingsKey) != `{"news":{"a":1}}` {
		t.Errorf("the settings are %s", c.value(state.SettingsKey))
	}
}
