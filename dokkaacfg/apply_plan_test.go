package dokkaacfg

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/manifest"
)

func wishOf(t *testing.T, text string) wish {
	t.Helper()
	m, err := manifest.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return wish{ref: state.Ref{App: "a", Name: "b"}, text: []byte(text), manifest: m}
}

func TestPlanApply(t *testing.T) {
	const have = `{"image": "x:1", "scale": 2, "services": {"web": 80}}`
	tests := map[string]struct {
		keys    map[string]string // beside the manifest
		before  string            // the manifest, have if not given
		after   string
		changes string
		plan    string
		writes  bool
	}{
		"new list":        {before: "none", after: "{\"image\": \"x\", \"command\": [\n\"a b\",\n  \"c\"]}", changes: `+ image: "x", + command: ["a b","c"]`, plan: "new: 1 instance", writes: true},
		"new":             {before: "none", after: `{"image": "x", "scale": 2}`, changes: `+ image: "x", + scale: 2`, plan: "new: 2 instances", writes: true},
		"new everywhere":  {before: "none", after: `{"image": "x", "mode": "global"}`, changes: `+ image: "x", + mode: "global"`, plan: "new: an instance on each suitable host", writes: true},
		"same":            {after: have, plan: "unchanged"},
		"same, otherwise": {after: `{"scale": 2, "services": {"web": {"port": 80}}, "image": "x:1", "pull": "missing"}`, plan: "unchanged"},
		"image": {after: strings.Replace(have, "x:1", "x:2", 1), changes: `~ image: "x:1" -> "x:2"`, writes: true,
			plan: "a new revision: replaces 2 instances, 1 at a time, each stopped when its successor is healthy; goes back if that fails"},
		"image, with a host port": {after: `{"image": "x:1", "scale": 2, "services": {"web": {"port": 80, "host_port": 8080}}}`, changes: `+ services.web.host_port: 8080`, writes: true,
			plan: "a new revision: replaces 2 instances, 1 at a time, each stopped before its successor starts; goes back if that fails"},
		"canary": {after: `{"image": "x:2", "scale": 2, "services": {"web": 80}, "update": {"canary": 1, "failure_action": "pause"}}`, writes: true,
			changes: `~ image: "x:1" -> "x:2", ~ update.canary: 0 -> 1, ~ update.failure_action: "rollback" -> "pause"`,
			plan:    "a new revision: replaces 2 instances, 1 at a time, each stopped when its successor is healthy; after 1 canary it waits for dokkaacfg promote; stays as it is if that fails"},
		"more":             {after: strings.Replace(have, "2", "5", 1), changes: "~ scale: 2 -> 5", plan: "restarts nothing; starts 3 more instances", writes: true},
		"less":             {after: strings.Replace(have, "2", "1", 1), changes: "~ scale: 2 -> 1", plan: "restarts nothing; stops 1 instance when its connections have ended", writes: true},
		"more, overridden": {keys: map[string]string{"scale": `{"scale": 4}`}, after: strings.Replace(have, "2", "5", 1), changes: "~ scale: 2 -> 5", plan: "restarts nothing; the scale of 4 that was set by hand goes; starts 1 more instance", writes: true},
		"around it":        {after: `{"image": "x:1", "scale": 2, "services": {"web": 80}, "drain_timeout": "5s"}`, changes: `~ drain_timeout: "30s" -> "5s"`, plan: "restarts nothing", writes: true},
		"field gone": {before: `{"image": "x:1", "env": {"A": "1"}, "links": ["a", {"to": "b", "as": "c"}]}`, after: `{"image": "x:1", "links": ["a"]}`, writes: true,
			changes: `- env.A: "1", - links[1].as: "c", - links[1].to: "b"`, plan: "a new revision: replaces 1 instance, 1 at a time, each stopped when its successor is healthy; goes back if that fails"},
		"another mode":      {after: `{"image": "x:1", "mode": "job"}`, changes: `~ mode: "replicated" -> "job"`, plan: "mode job instead of replicated: runs once", writes: true},
		"refused before":    {before: `{"image": "x", "scael": 2}`, after: `{"image": "x", "scale": 2}`, changes: "- scael: 2, + scale: 2", plan: "takes the place of a manifest that is refused: 2 instances", writes: true},
		"same, but failed":  {keys: map[string]string{"revisions/1": `{"modified": 10, "verdict": "failed"}`}, after: have, plan: "unchanged, but revision 1 failed: it is tried again", writes: true},
		"same, but stopped": {keys: map[string]string{"rollout": `{"to": 3, "phase": "paused"}`}, after: have, plan: "unchanged, but the update to revision 3 is paused: it is tried again", writes: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			keys := map[string]string{"manifest": have}
			for key, value := range test.keys {
				keys[key] = value
			}
			if test.before != "" {
				keys["manifest"] = strings.TrimPrefix(test.before, "none")
			}
			got := planApply(wishOf(t, test.after), appOf(keys))
			var changes []string
			for _, c := range got.changes {
				changes = append(changes, c.String())
			}
			if name == "another mode" { // what goes with it is not the point
				changes = changes[:1]
			}
			if is := strings.Join(changes, ", "); is != test.changes {
				t.Errorf("changes\n%s, want\n%s", is, test.changes)
			}
			if is := strings.Join(got.plan, "; "); is != test.plan {
				t.Errorf("plan\n%s, want\n%s", is, test.plan)
			}
			if got.write != test.writes {
				t.Errorf("writes: %v", got.write)
			}
		})
	}
}

func TestRevisionBefore(t *testing.T) {
	keys := map[string]string{
		"manifest":    `{"image": "x:4", "scale": 5}`,
		"revisions/1": `{"manifest": {"image": "x:1"}, "verdict": "healthy"}`,
		"revisions/2": `{"manifest": {"image": "x:2", "scale": 2, "mode": "replicated", "pull": "always", "drain_timeout": "30s"}, "verdict": "healthy"}`,
		"revisions/3": `{"manifest": {"image": "x:3"}, "verdict": "failed"}`,
		"revisions/4": `{"manifest": {"image": "x:4"}, "verdict": "healthy"}`,
	}
	app := appOf(keys)
	for wanted, want := range map[int]int{0: 2, 1: 1, 3: 3} {
		if n, err := app.revisionBefore(wanted); n != want || err != nil {
			t.Errorf("%d: %d, %v, want %d", wanted, n, err, want)
		}
	}
	if _, err := app.revisionBefore(9); err == nil || !strings.Contains(err.Error(), "there are 1 (healthy), 2 (healthy), 3 (failed), 4 (healthy)") {
		t.Errorf("no such revision: %v", err)
	}
	const want = `{"image":"x:2","pull":"always","scale":5}`
	if text, err := app.manifestOf(2); string(text) != want || err != nil {
		t.Errorf("manifest %s, %v, want %s", text, err, want)
	}
	if _, err := appOf(map[string]string{"manifest": `{"image": "x"}`}).revisionBefore(0); err == nil || !strings.Contains(err.Error(), "no other revision was healthy; there are none") {
		t.Errorf("no revision: %v", err)
	}
}

// appOf are the keys of a container, each changed after those before it; "" is none.
func appOf(keys map[string]string) *appKeys {
	ref := state.Ref{App: "a", Name: "b"}
	var nodes []store.Node
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		at := uint64(10)
		if key == "status" || key == "rollout" {
			at = 12
		}
		if keys[key] != "" {
			nodes = append(nodes, store.Node{Key: ref.Dir() + "/" + key, Value: keys[key], Modified: at})
		}
	}
	return newInventory(nil, nil, nodes).app(ref)
}
