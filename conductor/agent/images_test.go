package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

const (
	webTag    = "registry:5000/web:1"
	webDigest = "registry:5000/web@sha256:d1"
)

// web is the image that most of these tests are about, webNow another one that got its name.
var (
	web    = engine.Image{ID: "sha256:11111111111111111111", Tags: []string{webTag}, Digests: []string{webDigest}}
	webNow = engine.Image{ID: "sha256:22222222222222222222", Tags: []string{webTag}, Digests: []string{"registry:5000/web@sha256:d2"}}
)

// revisionOf is a revision of an image, resolved to what is not "".
func revisionOf(image, pull, resolved string) string {
	return fmt.Sprintf(`{"manifest": {"image": %q, "pull": %q}, "image": %q, "hash": "x"}`, image, pull, resolved)
}

func TestImageIsReported(t *testing.T) {
	local := engine.Image{ID: "sha256:33", Tags: []string{"built:1"}}
	elsewhere := engine.Image{ID: "sha256:44", Tags: []string{webTag}, Digests: []string{"other/web@sha256:d4"}}
	several := engine.Image{ID: "sha256:55", Tags: []string{webTag}, Digests: []string{"other/web@sha256:a", "registry:5000/web@sha256:c", "registry:5000/web@sha256:b"}}
	hub := engine.Image{ID: "sha256:66", Tags: []string{"nginx:1"}, Digests: []string{"nginx@sha256:e"}}
	for name, test := range map[string]struct {
		image           engine.Image
		revision, wants string
	}{
		"of a registry":           {web, revisionOf(webTag, "missing", ""), webDigest},
		"of no registry":          {local, revisionOf("built:1", "missing", ""), local.ID},
		"of another registry":     {elsewhere, revisionOf(webTag, "missing", ""), elsewhere.ID},
		"of several digests":      {several, revisionOf(webTag, "missing", ""), "registry:5000/web@sha256:b"},
		"resolved":                {several, revisionOf(webTag, "missing", "registry:5000/web@sha256:c"), "registry:5000/web@sha256:c"},
		"under Docker Hub's name": {hub, revisionOf("docker.io/library/nginx:1", "missing", ""), "nginx@sha256:e"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.engine.have(test.image)
				b.engine.images["docker.io/library/nginx:1"] = true
				b.start()
				defer func() { b.stop() }()
				b.put(b.slots(test.revision, idA)...)
				b.pass(10 * time.Second)
				if o := b.observed(idA); o.Image != test.wants || o.Phase != state.PhaseHealthy {
					t.Errorf("observed %+v, want image %s", o, test.wants)
				}
			})
		})
	}
}

// TestImageIsFetched is about images that are not as the revision has them.
func TestImageIsFetched(t *testing.T) {
	for name, test := range map[string]struct {
		here     []engine.Image
		registry map[string]engine.Image
		absent   []string
		revision string
		runs     string // id of the image, "" for none
		pulls    int    // at least; -1 for none
		reason   string
		isAbsent bool
	}{
		"missing, and there":       {here: []engine.Image{web}, revision: revisionOf(webTag, "missing", ""), runs: web.ID, pulls: -1},
		"missing, not there":       {registry: map[string]engine.Image{webTag: web}, revision: revisionOf(webTag, "missing", ""), runs: web.ID, pulls: 1},
		"missing, registry away":   {revision: revisionOf(webTag, "missing", ""), pulls: 2, reason: "no such host"},
		"missing, nobody has it":   {absent: []string{webTag}, revision: revisionOf(webTag, "missing", ""), pulls: 1, reason: "there is no such image", isAbsent: true},
		"always, and there":        {here: []engine.Image{web}, registry: map[string]engine.Image{webTag: webNow}, revision: revisionOf(webTag, "always", ""), runs: webNow.ID, pulls: 1},
		"always, registry away":    {here: []engine.Image{web}, revision: revisionOf(webTag, "always", ""), pulls: 2, reason: "no such host"},
		"always, but resolved":     {here: []engine.Image{web}, registry: map[string]engine.Image{webTag: webNow}, revision: revisionOf(webTag, "always", webDigest), runs: web.ID, pulls: -1},
		"never, and there":         {here: []engine.Image{web}, revision: revisionOf(webTag, "never", ""), runs: web.ID, pulls: -1},
		"never, not there":         {registry: map[string]engine.Image{webTag: web}, revision: revisionOf(webTag, "never", ""), pulls: -1, reason: "never to pull", isAbsent: true},
		"resolved to a digest":     {here: []engine.Image{webNow}, registry: map[string]engine.Image{webDigest: {ID: web.ID, Digests: web.Digests}}, revision: revisionOf(webTag, "missing", webDigest), runs: web.ID, pulls: 1},
		"a digest, registry away":  {here: []engine.Image{webNow}, revision: revisionOf(webTag, "missing", webDigest), pulls: 2, reason: "no such host"},
		"a digest that is gone":    {here: []engine.Image{webNow}, absent: []string{webDigest}, registry: map[string]engine.Image{webTag: webNow}, revision: revisionOf(webTag, "missing", webDigest), pulls: 2, reason: "was resolved to " + webDigest + " by another host; this host has no such image", isAbsent: true},
		"resolved to an id":        {registry: map[string]engine.Image{webTag: web}, revision: revisionOf(webTag, "missing", web.ID), runs: web.ID, pulls: 1},
		"an id, and another image": {registry: map[string]engine.Image{webTag: webNow}, revision: revisionOf(webTag, "missing", web.ID), pulls: 1, reason: "image " + webTag + " was resolved to " + web.ID + " by another host; this host has no such image: there is no such image any more", isAbsent: true},
		"an id, registry away":     {revision: revisionOf(webTag, "missing", web.ID), pulls: 2, reason: "this host has no such image: pull image " + webTag + ": no such host"},
		"an id, nobody has it":     {absent: []string{webTag}, revision: revisionOf(webTag, "missing", web.ID), pulls: 1, reason: "this host has no such image", isAbsent: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.engine.images = nil
				for _, image := range test.here {
					b.engine.have(image)
				}
				b.engine.registry, b.engine.absent = test.registry, map[string]bool{}
				for _, name := range test.absent {
					b.engine.absent[name] = true
				}
				b.start()
				defer func() { b.stop() }()
				b.put(b.slots(test.revision, idA)...)
				b.pass(10 * time.Second)
				o := b.observed(idA)
				if test.runs != "" && (o.Phase != state.PhaseHealthy || b.engine.containers["c-"+idA].ImageID != test.runs) {
					t.Errorf("observed %+v", o)
				}
				if test.runs == "" && (o.Phase != state.PhaseFailed || !strings.Contains(o.Reason, test.reason)) {
					t.Errorf("observed %+v, want %q", o, test.reason)
				}
				if pulls := b.engine.pulls; test.pulls < 0 && pulls > 0 || pulls < test.pulls {
					t.Errorf("%d pulls", pulls)
				}
			})
			synctest.Test(t, func(t *testing.T) { // the error itself
				b := newBench(t)
				b.engine.images = nil
				for _, image := range test.here {
					b.engine.have(image)
				}
				b.engine.registry, b.engine.absent = test.registry, map[string]bool{}
				for _, name := range test.absent {
					b.engine.absent[name] = true
				}
				b.start()
				b.stop()
				all, _ := newAssignments("10.0.0.1", b.apps).look(store.NewSnapshot(1, b.slots(test.revision, idA)...))
				b.agent.starts.enter()
				_, err := b.agent.create(t.Context(), Action{Kind: Run, Instance: idA, Desired: all[idA], Name: "x"})
				if (err == nil) != (test.runs != "") || errors.Is(err, engine.ErrImageAbsent) != test.isAbsent {
					t.Errorf("create: %v", err)
				}
			})
		})
	}
}

// TestImagesThatNothingNeedsAreRemoved has a host run several images one after the other.
func TestImagesThatNothingNeedsAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		loaded := engine.Image{ID: "sha256:77777777777777777777", Tags: []string{"built:1"}}
		b.engine.have(loaded)
		b.engine.registry = map[string]engine.Image{webTag: web}
		b.start()
		defer func() { b.stop() }()
		here := func(image string) bool {
			b.engine.mu.Lock()
			defer b.engine.mu.Unlock()
			_, there := b.engine.find(image)
			return there
		}
		b.put(b.slots(revisionOf(webTag, "missing", ""), idA)...)
		b.pass(time.Second)
		b.put(b.slots(revisionOf("built:1", "missing", ""), idB)...)
		b.pass(time.Second)
		if got, _ := b.store.get(state.ImageKey("10.0.0.1", web.ID)); got != `{"id":"`+web.ID+`","names":["`+webTag+`"]}` {
			t.Errorf("recorded of what was pulled: %q", got)
		}
		if _, there := b.store.get(state.ImageKey("10.0.0.1", loaded.ID)); there {
			t.Error("recorded what somebody loaded")
		}
		for needed, nodes := range map[string][]store.Node{
			"by a revision":          {{Key: refN.RevisionKey(7), Value: revisionOf(webTag, "missing", "")}},
			"by a resolved revision": {{Key: refN.RevisionKey(7), Value: revisionOf("x:1", "missing", webDigest)}},
			"by an id":               {{Key: refN.RevisionKey(7), Value: revisionOf("x:1", "missing", web.ID)}},
		} {
			b.put(append(nodes, b.slots(revisionOf("built:1", "missing", ""), idB)...)...)
			b.pass(30 * time.Minute)
			if !here(web.ID) {
				t.Fatalf("removed, though needed %s", needed)
			}
		}
		b.put(b.slots(revisionOf("built:1", "missing", ""), idB)...)
		b.engine.set(func() { b.engine.foreign = []engine.Container{{ImageID: web.ID, Status: engine.StatusExited}} })
		b.pass(30 * time.Minute)
		if !here(web.ID) {
			t.Fatal("removed, though a container has it")
		}
		b.apps.unknow()
		b.engine.set(func() { b.engine.foreign = nil })
		b.pass(30 * time.Minute)
		if !here(web.ID) {
			t.Fatal("removed, though it is not known what is needed")
		}
		b.put()
		b.pass(30 * time.Minute)
		if here(web.ID) || !here(loaded.ID) {
			t.Errorf("here are %v", b.engine.here)
		}
		if _, there := b.store.get(state.ImageKey("10.0.0.1", web.ID)); there {
			t.Error("still recorded")
		}
	})
}

// TestNamesThatOthersGaveStay is about images that are more than what was pulled.
func TestNamesThatOthersGaveStay(t *testing.T) {
	for name, test := range map[string]struct {
		image   engine.Image
		removed []string
	}{
		"as pulled":             {web, []string{webTag, webDigest}},
		"tagged by somebody":    {engine.Image{ID: web.ID, Tags: []string{"mine:1", webTag}, Digests: web.Digests}, []string{webTag, webDigest}},
		"its name is another's": {engine.Image{ID: web.ID, Digests: web.Digests}, []string{webDigest}},
		"of another registry":   {engine.Image{ID: web.ID, Tags: []string{webTag}, Digests: []string{"other/web@sha256:d1"}}, []string{webTag}},
		"without any name":      {engine.Image{ID: web.ID}, []string{web.ID}},
		"all its names others'": {engine.Image{ID: web.ID, Tags: []string{"mine:1"}}, nil},
	} {
		if got := pulledNames(test.image, state.Image{ID: web.ID, Names: []string{webTag}}); !slices.Equal(got, test.removed) {
			t.Errorf("%s: removes %q, want %q", name, got, test.removed)
		}
	}
}

func TestPullIsRecordedOnceTheStoreIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.engine.registry = map[string]engine.Image{webTag: web, webDigest: web}
		b.start()
		defer func() { b.stop() }()
		b.store.setAway(true)
		b.put(b.slots(revisionOf(webTag, "missing", ""), idA)...)
		b.pass(time.Minute)
		b.store.setAway(false)
		b.pass(5 * time.Second)
		key := state.ImageKey("10.0.0.1", web.ID)
		if got, _ := b.store.get(key); !strings.Contains(got, webTag) {
			t.Errorf("recorded: %q", got)
		}
		b.agent.havePulled(web.ID, webDigest)
		b.agent.havePulled(web.ID, webTag)
		b.pass(time.Second)
		if got, _ := b.store.get(key); got != `{"id":"`+web.ID+`","names":["`+webTag+`","`+webDigest+`"]}` {
			t.Errorf("recorded: %q", got)
		}
	})
}

// TestPullThatBreaksOffIsNoAbsence checks that a pull that ends without an image is tried again, and
// nobody concludes that there is none.
func TestPullThatBreaksOffIsNoAbsence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.engine.registry, b.engine.broken = map[string]engine.Image{webTag: web}, true
		b.start()
		defer func() { b.stop() }()
		b.put(b.slots(revisionOf(webTag, "missing", ""), idA)...)
		b.pass(10 * time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseFailed || o.GaveUp || !strings.Contains(o.Reason, "it ended without the image") {
			t.Errorf("observed: %+v", o)
		}
		b.engine.set(func() { b.engine.broken = false })
		b.pass(time.Minute)
		if o := b.observed(idA); o.Phase != state.PhaseHealthy {
			t.Errorf("observed: %+v", o)
		}
	})
}
