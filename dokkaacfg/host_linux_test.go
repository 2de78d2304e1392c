package dokkaacfg

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

const slotOn1 = `{"generation": 1, "current": {"host": "10.101.0.1", "revision": 1, "instance": "i1", "generation": 1}}`

func TestAvailability(t *testing.T) {
	c := newTestCluster(t)
	c.lease("10.101.0.1", `{}`)
	key := state.AvailabilityKey("10.101.0.1")
	for _, step := range []struct{ args, value, says string }{
		{"host cordon 10.101.0.1", "cordon", "host 10.101.0.1 is cordoned: it takes nothing new, and keeps what it has\n"},
		{"host cordon 10.101.0.1", "cordon", "keeps what it has (as before)\n"},
		{"host drain 10.101.0.1 --detach", "drain", "host 10.101.0.1 is drained: "},
		{"host uncordon 10.101.0.1", "(none)", "host 10.101.0.1 takes its share again\n"},
		{"host drain 10.101.0.1", "drain", "host 10.101.0.1 is empty\n"},
		{"host undrain 10.101.0.1", "(none)", "host 10.101.0.1 takes its share again\n"},
		{"host undrain 10.101.0.1", "(none)", "host 10.101.0.1 takes its share again (as before)\n"},
	} {
		out := c.mustRun(strings.Fields(step.args)...)
		if !strings.Contains(out, step.says) || c.value(key) != step.value {
			t.Errorf("%s: %s is %s; it says\n%s", step.args, key, c.value(key), out)
		}
	}
}

func TestUnknownHost(t *testing.T) {
	c := newTestCluster(t)
	c.put("/hosts/10.101.0.7/info", `{}`)
	for _, args := range [][]string{
		{"host", "drain", "10.101.0.3"}, {"host", "cordon", "2"}, {"host", "undrain", "../x"}, {"host", "rm", ""},
		{"host", "label", "10.101.0.33", "a=b"}, {"volume", "rm", "10.101.0.3", "x"},
	} {
		c.fails("; the hosts are 10.101.0.1, 10.101.0.2, 10.101.0.7", args...)
	}
	if left := c.below("/hosts"); !slices.Equal(left, []string{"10.101.0.7/info"}) {
		t.Errorf("there are keys now: %q", left)
	}
}

func TestLabels(t *testing.T) {
	c := newTestCluster(t)
	c.lease("10.101.0.1", `{"labels": {"zone": "a"}}`)
	key := state.HostLabelsKey("10.101.0.1")
	for _, step := range []struct{ args, value, says string }{
		{"", "(none)", "host 10.101.0.1: zone=a\n"},
		{"disk=ssd rack=", `{"disk":"ssd","rack":""}`, "host 10.101.0.1: disk=ssd, rack=, zone=a\n"},
		{"zone=b disk-", `{"rack":"","zone":"b"}`, "host 10.101.0.1: rack=, zone=b\n"},
		{"zone- none-", `{"rack":""}`, "label zone is the host's own, by HOST_LABELS of its conductor: it stays; an operator's value for it goes\nhost 10.101.0.1 has no label none\nhost 10.101.0.1: rack=, zone=a\n"},
		{"rack-", "(none)", "host 10.101.0.1: zone=a\n"},
	} {
		out := c.mustRun(append([]string{"host", "label", "10.101.0.1"}, strings.Fields(step.args)...)...)
		if out != step.says || c.value(key) != step.value {
			t.Errorf("%s: labels are %s; it says\n%s", step.args, c.value(key), out)
		}
	}
	for _, bad := range []string{"zone", "=x", "-=x", "a=b a-", "a b=c", "zone=a\nb"} {
		var usage usageError
		if _, err := parseLabelChanges(strings.Split(bad, " ")); !errors.As(err, &usage) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	c.put(key, "garbage")
	c.fails("read its labels", "host", "label", "10.101.0.1", "a=b")
	if c.value(key) != "garbage" {
		t.Error("what could not be read was written over")
	}
}

// What is left on a host, why, and whether it moves.
func TestLeftOnHost(t *testing.T) {
	var hosts, apps []store.Node
	add := func(to *[]store.Node, key, value string) {
		*to = append(*to, store.Node{Key: key, Value: value, TTL: time.Second})
	}
	add(&hosts, "/hosts/h1/lease", `{}`)
	add(&hosts, "/hosts/h1/instances/gone", `{"app": "a", "name": "old", "slot": 3, "phase": "stopping"}`)
	add(&hosts, "/hosts/h1/instances/i1", `{}`)
	add(&hosts, "/hosts/h1/volumes/a---data---1---v", `{"app": "a", "name": "data", "slot": 1, "volume": "v"}`)
	add(&hosts, "/hosts/h2/instances/n1", `{"phase": "pulling", "reason": "3 of 7 layers"}`)
	add(&hosts, "/hosts/h2/instances/n2", `{"phase": "failed", "reason": "no such image", "gave_up": true}`)
	slot := func(current, next string) string {
		value := "{"
		if current != "" {
			value += `"current": {"host": "` + current + `", "instance": "i1"}`
		}
		if next != "" {
			host, instance, _ := strings.Cut(next, " ")
			value += `, "next": {"host": "` + host + `", "instance": "` + instance + `"}`
		}
		return strings.Replace(value, "{,", "{", 1) + "}"
	}
	add(&apps, "/apps/a/data/hosts/1", slot("h1", ""))
	add(&apps, "/apps/a/data/hosts/2", slot("h2", ""))
	add(&apps, "/apps/a/full/hosts/1", slot("h1", ""))
	add(&apps, "/apps/a/full/status", `{"waiting": ["1: no suitable host (2: memory)"], "slots": [{"slot": 1, "phase": "healthy"}]}`)
	add(&apps, "/apps/a/moves/hosts/1", slot("h1", "h2 n1"))
	add(&apps, "/apps/a/moves/hosts/2", slot("h1", "h2 n2"))
	add(&apps, "/apps/a/moves/hosts/3", slot("h1", "h3 n3"))
	add(&apps, "/apps/a/new/hosts/1", slot("h2", "h1 n4"))
	add(&apps, "/apps/a/new/hosts/2", slot("", "h1 n5"))
	add(&apps, "/apps/a/says/hosts/1", slot("h1", ""))
	add(&apps, "/apps/a/says/status", `{"waiting": ["other"], "slots": [{"slot": 1, "reason": "near a/db"}]}`)
	add(&apps, "/apps/a/turn/hosts/1", slot("h1", ""))
	all := newInventory(nil, hosts, apps)
	want := []string{
		"a/data 1: its volume v is on this host, waits",
		"a/full 1: 1: no suitable host (2: memory), waits",
		"a/moves 1: moves to host h2: pulling; 3 of 7 layers, moves",
		"a/moves 2: moves to host h2: failed; no such image, waits",
		"a/moves 3: moves to host h3: assigned, moves",
		"a/new 1: it was starting here, moves",
		"a/new 2: it was starting here, moves",
		"a/says 1: near a/db, waits",
		"a/turn 1: it waits for its turn, waits",
	}
	says := func() (got []string) {
		for _, r := range all.leftOn("h1") {
			got = append(got, r.String()+map[bool]string{true: ", moves", false: ", waits"}[r.moving])
		}
		return got
	}
	if got, want := says(), append(want, "a/old 3: it is being stopped, moves"); !slices.Equal(got, want) {
		t.Errorf("left are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	all.hosts["h1"].lease = nil
	if got := says(); !slices.Equal(got, want) {
		t.Errorf("left on the lost host are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestDrainWaits(t *testing.T) {
	c := newTestCluster(t)
	c.lease("10.101.0.1", `{}`)
	c.put("/apps/dummy/nginx/hosts/1", slotOn1, "/hosts/10.101.0.1/instances/i1", `{"app": "dummy", "name": "nginx", "slot": 1}`)
	done := make(chan string)
	go func() { done <- c.mustRun("host", "drain", "10.101.0.1") }()
	c.eventually(state.AvailabilityKey("10.101.0.1"), "drain")
	time.Sleep(3 * followInterval)
	c.put("/apps/dummy/nginx/hosts/1", `{"current": {"host": "10.101.0.1", "instance": "i1"}, "next": {"host": "10.101.0.2", "instance": "i2"}}`)
	time.Sleep(3 * followInterval)
	c.put("/apps/dummy/nginx/hosts/1", `{"current": {"host": "10.101.0.2", "instance": "i2"}}`)
	time.Sleep(3 * followInterval)
	c.delete("/hosts/10.101.0.1/instances/i1")
	out := <-done
	rest := out
	for _, line := range []string{"dummy/nginx 1: it waits for its turn", "dummy/nginx 1: moves to host 10.101.0.2: assigned",
		"dummy/nginx 1: it is being stopped", "dummy/nginx 1: left the host, 0 to go", "host 10.101.0.1 is empty"} {
		_, after, found := strings.Cut(rest, line)
		if !found {
			t.Fatalf("it does not say %q in its turn:\n%s", line, out)
		}
		rest = after
	}
}

func TestDrainEndsWhenNothingMoves(t *testing.T) {
	c := newTestCluster(t)
	c.lease("10.101.0.1", `{}`)
	c.put("/apps/dummy/db/hosts/1", slotOn1, "/hosts/10.101.0.1/volumes/dummy---db---data", `{"app": "dummy", "name": "db", "slot": 1, "volume": "data"}`)
	c.fails("nothing has moved for 1s; host 10.101.0.1 still has\n  dummy/db 1: its volume data is on this host\nIt stays drained", "host", "drain", "10.101.0.1", "--timeout=1s")
	if got := c.value(state.AvailabilityKey("10.101.0.1")); got != "drain" {
		t.Errorf("the host is %q", got)
	}
}

func TestDrainThatIsTakenBack(t *testing.T) {
	p := newProgress(t.Output())
	w := drainWatch{ip: "h1", progress: p, step: p.step("h1", "drain")}
	if _, err := w.look(newInventory(nil, nil, nil), time.Now()); err == nil || !strings.Contains(err.Error(), "took it back") {
		t.Errorf("it says %v", err)
	}
}

func TestHostRm(t *testing.T) {
	c := newTestCluster(t)
	c.lease("10.101.0.1", `{}`)
	c.fails("host 10.101.0.1 has a lease: it lives", "host", "rm", "10.101.0.1", "--yes")

	c.put("/hosts/10.101.0.7/info", `{}`, "/hosts/10.101.0.7/labels", `{"a": "b"}`, "/hosts/10.101.0.7/availability", "drain",
		"/hosts/10.101.0.7/instances/i1", `{"app": "dummy", "name": "nginx"}`,
		"/hosts/10.101.0.7/volumes/v1", `{"app": "dummy", "name": "db", "slot": 1, "volume": "data"}`,
		"/apps/dummy/db/hosts/1", strings.ReplaceAll(slotOn1, "10.101.0.1", "10.101.0.7"))
	c.fails("host 10.101.0.7 is not empty, it still has\n  dummy/db 1: its volume data is on this host\n", "host", "rm", "10.101.0.7", "--yes")
	c.delete("/apps/dummy/db")
	c.put("/apps/dummy/all/manifest", `{"image": "x", "mode": "global"}`, "/apps/dummy/all/hosts/1", strings.ReplaceAll(slotOn1, "10.101.0.1", "10.101.0.7"))

	if _, err := c.run("no\n", "host", "rm", "10.101.0.7"); err == nil || len(c.below("/hosts/10.101.0.7")) != 5 {
		t.Errorf("without consent: %v, left are %q", err, c.below("/hosts/10.101.0.7"))
	}
	out := c.mustRun("host", "rm", "10.101.0.7", "--yes")
	for _, told := range []string{"availability: drain\n", "labels: a=b\n", "volume v1 of dummy/db, whose data is on the host and stays there\n", "instance i1 of dummy/nginx", "5 keys below /hosts/10.101.0.7\n"} {
		if !strings.Contains(out, told) {
			t.Errorf("it does not tell of %q:\n%s", told, out)
		}
	}
	if left := c.below("/hosts"); !slices.Equal(left, []string{"10.101.0.1/lease"}) {
		t.Errorf("left are %q", left)
	}
	if out := c.mustRun("host", "rm", "10.101.0.2", "--yes"); out != "Nothing is known of host 10.101.0.2.\n" {
		t.Errorf("of a host without keys: %s", out)
	}
}

// What a host that came back wrote since is not deleted.
func TestForgetOnlyWhatWasRead(t *testing.T) {
	c := newTestCluster(t)
	c.put("/hosts/h1/info", "old", "/hosts/h1/labels", "{}")
	list, err := c.keys.List(t.Context(), "/hosts/h1")
	if err != nil {
		t.Fatal(err)
	}
	c.put("/hosts/h1/info", "new")
	if err := forget(t.Context(), c.keys, list.Nodes); err == nil || !strings.Contains(err.Error(), "has come back") || c.value("/hosts/h1/info") != "new" {
		t.Errorf("it says %v", err)
	}
}
