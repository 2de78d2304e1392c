//go:build faults

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

// journal follows what is written into etcd, through whichever gateway answers.
type journal struct {
	c     *cluster
	since time.Time
	urls  []string // of gateways; the first one is asked
	end   context.CancelFunc
	ended sync.WaitGroup

	mu      sync.Mutex
	history *history
	index   uint64 // of the last write that was taken in
	gaps    int    // times that writes were missed, or etcd's content was another
}

const (
	pollWait    = 2 * time.Second // a long poll; a member that was cut off would never answer
	journalTail = 150             // lines of it that are shown
)

// follow begins a journal. It ends with finish, or with the test.
func (c *cluster) follow() *journal {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	j := &journal{c: c, since: time.Now(), end: cancel, history: newHistory()}
	for n := 1; n <= c.scale; n++ {
		j.urls = append(j.urls, "http://"+c.ip(n)+":4001/v2/keys")
	}
	if err := j.list(ctx); err != nil {
		cancel()
		c.t.Fatal(err)
	}
	j.ended.Go(func() { j.run(ctx) })
	c.t.Cleanup(func() {
		j.end()
		j.ended.Wait()
	})
	return j
}

// sees tells whether match holds of what was written so far.
func (j *journal) sees(match func(*history) bool) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return match(j.history)
}

func (j *journal) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := j.next(ctx); err != nil {
			j.urls = append(j.urls[1:], j.urls[0])
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// reply is an answer of the keys API.
type reply struct {
	Action    string
	Node      node
	ErrorCode int
	Index     uint64 `json:"-"` // of the store
}

type node struct {
	Key, Value    string
	Dir           bool
	Nodes         []node
	ModifiedIndex uint64
}

// next takes in the next write. Where it cannot be had any more all is listed again.
func (j *journal) next(ctx context.Context) error {
	r, err := j.get(ctx, j.urls[0], fmt.Sprintf("/?recursive=true&wait=true&waitIndex=%d", j.index+1))
	switch {
	case err != nil && ctx.Err() == nil:
		// Nothing was written, or another store's index is smaller.
		now, err := j.get(ctx, j.urls[0], state.ClusterKey+"?quorum=true")
		if err == nil && now.Index < j.index {
			return j.list(ctx)
		}
		return err
	case err != nil:
		return err
	case r.ErrorCode != 0: // the window was missed
		return j.list(ctx)
	}
	w := write{key: r.Node.Key, value: r.Node.Value, index: r.Node.ModifiedIndex, at: time.Now(),
		gone:    slices.Contains([]string{"delete", "expire", "compareAndDelete"}, r.Action),
		expired: r.Action == "expire"}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.index = w.index
	if !r.Node.Dir {
		j.history.take(w)
	}
	return nil
}

// list takes all keys in as they stand.
func (j *journal) list(ctx context.Context) error {
	r, err := j.get(ctx, j.urls[0], "/?recursive=true&quorum=true")
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	h := j.history
	if h.lines != nil {
		j.gaps++
		h.anew++
		h.note(write{at: time.Now(), index: r.Index}, "all is read anew")
	}
	clear(h.slots)
	for ref := range h.limits {
		h.slots[ref] = map[int]state.Slot{}
	}
	clear(h.observed)
	fresh := newHistory()
	fresh.limits, fresh.slots, fresh.observed, fresh.named, fresh.losses = h.limits, h.slots, h.observed, h.named, h.losses
	var take func(n node)
	take = func(n node) {
		if !n.Dir {
			fresh.begin(write{key: n.Key, value: n.Value, index: n.ModifiedIndex, at: j.since})
		}
		for _, child := range n.Nodes {
			take(child)
		}
	}
	take(r.Node)
	h.lines = append(h.lines, fresh.lines...)
	j.index = r.Index
	return nil
}

func (j *journal) get(ctx context.Context, gateway, path string) (r reply, err error) {
	ctx, cancel := context.WithTimeout(ctx, pollWait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway+path, http.NoBody)
	if err != nil {
		return r, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		return r, fmt.Errorf("%s: %w", resp.Status, err)
	}
	if resp.StatusCode >= http.StatusInternalServerError {
		return r, fmt.Errorf("%s: error %d", resp.Status, r.ErrorCode)
	}
	r.Index, err = strconv.ParseUint(resp.Header.Get("X-Etcd-Index"), 10, 64)
	return r, err
}

// finish ends the journal once it has what is written now, and holds that nothing happened that must
// not: by what was written, and by what the conductors say they did.
func (j *journal) finish() {
	c := j.c
	c.t.Helper()
	c.eventually(10*time.Second, "the journal is complete", func() error {
		keys, err := j.get(c.t.Context(), c.key(c.aHost(), ""), state.ClusterKey+"?quorum=true")
		j.mu.Lock()
		defer j.mu.Unlock()
		if err == nil && j.index < keys.Index {
			err = fmt.Errorf("it is at %d of %d", j.index, keys.Index)
		}
		return err
	})
	j.end()
	j.ended.Wait()
	h := j.history
	faults := append(h.faults, h.flapping()...)
	for n := 1; n <= c.scale; n++ {
		faults = append(faults, c.wrongActions(n, h, j.since)...)
	}
	for _, fault := range faults {
		c.t.Error(fault)
	}
	c.t.Logf("the journal has %d lines and %d gaps; %d leases ended", len(h.lines), j.gaps, h.losses)
	if len(faults) > 0 {
		j.show()
	}
}

// show logs the journal's end, and what the cluster's events tell.
func (j *journal) show() {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.history.lines
	j.c.t.Logf("journal:\n%s", strings.Join(lines[max(0, len(lines)-journalTail):], "\n"))
	var story []string
	for _, e := range j.c.events(j.since) {
		story = append(story, fmt.Sprintf("%s %s %s %s/%s %d %s %s", e.Time.Format("15:04:05.000"), e.Kind, e.Host, e.App, e.Name, e.Slot, e.Instance, e.Reason))
	}
	j.c.t.Logf("events:\n%s", strings.Join(story[max(0, len(story)-journalTail):], "\n"))
}

// events are those of the cluster since a time, in the order in which they happened.
func (c *cluster) events(since time.Time) (all []state.Event) {
	keys, err := c.keys(c.aHost(), state.EventsDir)
	if err != nil {
		c.t.Logf("read events: %v", err)
	}
	for _, value := range keys {
		var e state.Event
		if json.Unmarshal([]byte(value), &e) == nil && e.Time.After(since) {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b state.Event) int { return a.Time.Compare(b.Time) })
	return all
}

// wrongActions are those that a conductor logged though a slot names the instance: ids are used once,
// so it did so then. And what it died of.
func (c *cluster) wrongActions(host int, h *history, since time.Time) (wrong []string) {
	log, err := c.daemonLog(host, "conductor", since)
	if err != nil {
		return []string{err.Error()}
	}
	for line := range strings.Lines(log) {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			wrong = append(wrong, fmt.Sprintf("the conductor of host %d: %s", host, line))
		}
		if !strings.Contains(line, " msg=remove ") || !strings.Contains(line, "running but not assigned here") {
			continue
		}
		_, rest, _ := strings.Cut(line, " instance=")
		instance, _, _ := strings.Cut(rest, " ")
		for ref := range h.slots {
			if h.isAssigned(ref, instance) {
				wrong = append(wrong, fmt.Sprintf("host %d removed what is assigned: %s", host, line))
			}
		}
	}
	return wrong
}
