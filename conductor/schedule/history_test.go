package schedule_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dokkaa/dokkaa/internal/state"
)

// TestHistories lives through random histories of a small cluster. What may never happen is looked
// for at every step; in the end everything comes back, and all that is wanted must be there.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		h := &history{T: r, cluster: newCluster(r, rapid.Uint64().Draw(r, "seed"), rapid.IntRange(1, 6).Draw(r, "hosts"))}
		h.careful, h.sick = true, rapid.Bool().Draw(r, "sick")
		h.mixed = rapid.Bool().Draw(r, "mixed")
		for range rapid.IntRange(1, 20).Draw(r, "steps") {
			h.act()
			h.run(time.Duration(rapid.IntRange(0, 20_000).Draw(r, "milliseconds")) * time.Millisecond)
		}
		h.recover()
		h.rest()
		h.checkRest()
	})
}

// history is a cluster that random things happen to.
type history struct {
	*rapid.T
	*cluster
	sick bool // there are images that never get healthy
}

func draw[T any](h *history, label string, from ...T) T {
	return rapid.SampledFrom(from).Draw(h.T, label)
}

func (h *history) act() {
	ref := state.Ref{App: "x", Name: draw(h, "name", "a", "b", "c", "d")}
	switch draw(h, "act", "put", "put", "put", "put", "edit", "edit", "remove", "scale", "promote", "cut", "cut", "restore", "restore", "forget", "join",
		"allow", "label", "condition", "elect", "trouble", "rival") {
	case "put":
		h.put(ref, h.manifest())
	case "edit":
		h.edit(ref)
	case "remove":
		h.note("manifest of %s is removed", ref)
		h.remove(ref.ManifestKey())
	case "scale":
		if m, there := h.keys[ref.ManifestKey()]; there {
			h.write(ref.ScaleKey(), fmt.Sprintf(`{"scale": %d, "modified": %d}`, rapid.IntRange(0, 5).Draw(h.T, "scale"), m.Modified))
		}
	case "promote":
		h.write(ref.PromoteKey(), strconv.Itoa(h.status(ref).Revision))
	case "cut":
		h.host().cut(draw(h, "power", true, false))
	case "restore":
		h.host().restore()
	case "forget":
		if m := h.host(); !m.reachable && len(h.hosts) > 1 {
			m.forget()
		}
	case "join":
		if len(h.hosts) < 7 {
			h.join()
		}
	case "allow":
		m := h.host()
		m.Availability = draw(h, "availability", "", state.Drained, state.Cordoned)
		h.note("host %s: %q", m.IP, m.Availability)
		h.hostsChanged()
	case "label":
		m := h.host()
		m.Labels = map[string]string{"zone": draw(h, "zone", "a", "b", "c")}
		h.note("host %s: %v", m.IP, m.Labels)
		h.hostsChanged()
	case "condition":
		m := h.host()
		m.Condition = draw(h, "condition", "", "Docker does not answer")
		h.note("host %s: %q", m.IP, m.Condition)
		h.hostsChanged()
	case "elect":
		h.note("another scheduler")
		h.elect()
	case "trouble":
		h.failing = draw(h, "failing", 0, 0, 30)
	case "rival":
		h.rival()
	}
}

func (h *history) host() *member {
	return h.hosts[rapid.SampledFrom(slices.Sorted(maps.Keys(h.hosts))).Draw(h.T, "host")]
}

// rival has another scheduler plan and write at the same time: this one's plan is what the store was
// before.
func (h *history) rival() {
	late, _ := h.plan()
	h.note("another scheduler, while the one before still writes")
	h.elect()
	plan, wake := h.plan()
	h.wakeFor(wake)
	h.carryOut(plan, h.failing)
	h.stale = true
	h.carryOut(late, h.failing)
	h.stale = false
	h.wake(h.now)
}

// recover brings everything back that may serve.
func (h *history) recover() {
	h.failing, h.mixed = 0, false
	for _, ip := range slices.Sorted(maps.Keys(h.hosts)) {
		m := h.hosts[ip]
		m.restore()
		m.Availability, m.Condition = "", ""
	}
	h.hostsChanged()
}

// manifest is a random one.
func (h *history) manifest() string {
	m := map[string]any{"image": h.image()}
	switch draw(h, "mode", "replicated", "replicated", "replicated", "replicated", "global", "job") {
	case "global":
		m["mode"] = "global"
	case "job":
		return h.job()
	default:
		m["scale"] = rapid.IntRange(0, 5).Draw(h.T, "scale")
	}
	m["update"] = h.update()
	for range rapid.IntRange(0, 2).Draw(h.T, "features") {
		h.feature(m)
	}
	text, err := json.Marshal(m)
	if err != nil {
		h.Fatalf("%v", err)
	}
	return string(text)
}

func (h *history) image() string {
	images := []string{"good", "good", "good", "flaky"}
	if h.sick {
		images = append(images, "sick", "missing")
	}
	return draw(h, "image", images...) + ":" + draw(h, "tag", "1", "2", "3")
}

func (h *history) update() map[string]any {
	u := map[string]any{
		"min_healthy_time": draw(h, "min_healthy_time", "0s", "2s"), "healthy_deadline": "20s",
		"progress_deadline": draw(h, "progress_deadline", "40s", "10m"),
		"max_parallel":      rapid.IntRange(1, 3).Draw(h.T, "max_parallel"),
		"failure_action":    draw(h, "failure_action", "rollback", "pause", "continue"),
	}
	switch draw(h, "order", "start-first", "start-first", "stop-first", "canary") {
	case "stop-first":
		u["order"] = "stop-first"
	case "canary":
		u["canary"] = 1
	}
	return u
}

func (h *history) feature(m map[string]any) {
	other := draw(h, "other", "a", "b", "c", "d")
	switch draw(h, "feature", "local", "nfs", "single-host", "constraint", "near", "apart", "max_per_host", "host_port", "reserve", "depends_on", "disconnect", "spread") {
	case "local":
		m["volumes"] = []any{map[string]any{"name": "data", "path": "/data", "on_host_loss": draw(h, "on_host_loss", "wait", "move_empty")}}
	case "nfs":
		m["volumes"] = []any{map[string]any{"name": "data", "path": "/data", "driver_opts": map[string]string{"type": "nfs", "device": "x:/", "o": "addr=x"}}}
	case "single-host":
		m["volumes"] = []any{map[string]any{"name": "data", "path": "/data", "access_mode": "single-host", "on_host_loss": draw(h, "on_host_loss", "wait", "move_empty")}}
	case "constraint":
		m["constraints"] = []string{draw(h, "constraint", "host.labels.zone == a", "host.labels.zone != b")}
	case "near":
		m["near"] = []string{other}
	case "apart":
		m["apart"] = []string{other}
	case "max_per_host":
		m["max_per_host"] = rapid.IntRange(1, 2).Draw(h.T, "max_per_host")
	case "host_port":
		m["services"] = map[string]any{"s": map[string]any{"port": 80, "host_port": draw(h, "host_port", 8080, 8081)}}
	case "reserve":
		m["resources"] = map[string]any{"reserve": map[string]any{"cpus": draw(h, "cpus", 1, 5)}}
	case "depends_on":
		m["depends_on"] = []any{map[string]any{"container": other, "condition": draw(h, "condition", "healthy", "started", "completed")}}
	case "disconnect":
		m["disconnect"] = map[string]any{"replace": draw(h, "replace", true, false), "reconcile": draw(h, "reconcile", "keep_original", "keep_replacement"),
			"lost_after": draw(h, "lost_after", "0s", "20s")}
	case "spread":
		m["spread"] = []any{map[string]any{"attribute": "host.labels.zone", "weight": 50}}
	}
}

func (h *history) job() string {
	m := map[string]any{"mode": "job", "image": draw(h, "image", "good:1", "good:2", "fails:1", "missing:1"), "on_host_loss": draw(h, "on_host_loss", "restart", "fail")}
	if draw(h, "schedule", true, false) {
		m["schedule"] = "0 * * * *"
		m["concurrency"] = draw(h, "concurrency", "forbid", "allow", "replace")
	}
	text, err := json.Marshal(m)
	if err != nil {
		h.Fatalf("%v", err)
	}
	return string(text)
}

// edit changes one thing of a manifest that is there.
func (h *history) edit(ref state.Ref) {
	var m map[string]any
	node, there := h.keys[ref.ManifestKey()]
	if !there || json.Unmarshal([]byte(node.Value), &m) != nil {
		return
	}
	switch draw(h, "edit", "image", "scale", "update", "feature", "same", "bad") {
	case "image":
		m["image"] = h.image()
	case "scale":
		if m["mode"] == nil {
			m["scale"] = rapid.IntRange(0, 5).Draw(h.T, "scale")
		}
	case "update":
		if m["mode"] != "job" {
			m["update"] = h.update()
		}
	case "feature":
		if m["mode"] != "job" {
			h.feature(m)
		}
	case "bad":
		m["scael"] = 1
	}
	text, err := json.Marshal(m)
	if err != nil {
		h.Fatalf("%v", err)
	}
	h.put(ref, string(text))
}
