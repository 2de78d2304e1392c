package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

const probeEvery = 500 * time.Millisecond

// Why a request under way is cut.
var (
	errCutOff = errors.New("the member of etcd is away")
	errEnding = errors.New("the gateway ends")
)

// cluster is the members of etcd, and which of them is asked first.
type cluster struct {
	members []*member
	client  *http.Client // of the probes
	log     *slog.Logger

	mu      sync.Mutex
	current *member // asked first as long as none is in a better condition
}

func newCluster(urls []*url.URL, transport http.RoundTripper, log *slog.Logger) *cluster {
	c := &cluster{client: &http.Client{Transport: transport}, log: log}
	for _, u := range urls {
		c.members = append(c.members, newMember(u))
	}
	c.current = c.members[0]
	return c
}

// run probes the members until ctx ends.
func (c *cluster) run(ctx context.Context) {
	var group sync.WaitGroup
	for _, m := range c.members {
		group.Go(func() {
			tick := time.NewTicker(probeEvery)
			defer tick.Stop()
			for {
				now, err := m.probe(ctx, c.client)
				if ctx.Err() != nil {
					return
				}
				c.note(m, now, err)
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
		})
	}
	group.Wait()
}

// note takes what was found out about the member.
func (c *cluster) note(m *member, now condition, err error) {
	before, failures := m.set(now, err)
	if before != now {
		if now == healthy {
			c.log.Info("member of etcd is healthy", "member", m.url.String())
		} else {
			c.log.Warn("member of etcd is not healthy", "member", m.url.String(), "err", err)
		}
	}
	if !c.isLost(now, failures, err) {
		return
	}
	// Their clients ask again, and another member; where there is none they are cut at each probe,
	// which is worth a line once.
	if cut := m.cut(false, errCutOff); cut > 0 && m.tellCut() {
		c.log.Info("requests to a member of etcd were cut", "member", m.url.String(), "requests", cut)
	}
}

// isLost says whether to wait no longer for what the member was asked. One late answer is no
// reason. A member without a leader tells its long polls nothing any more, but that is no
// reason while no other member is better.
func (c *cluster) isLost(now condition, failures int, err error) bool {
	var unreached dialError
	switch now {
	case away:
		return failures > 1 || errors.As(err, &unreached)
	case leaderless:
		return failures > 1 && c.hasHealthy()
	}
	return false
}

// asked tells whether every member was asked, or one of them is healthy.
func (c *cluster) asked() bool {
	return c.hasHealthy() || !slices.ContainsFunc(c.members, func(m *member) bool {
		_, err := m.state()
		return errors.Is(err, errNotAsked)
	})
}

func (c *cluster) hasHealthy() bool {
	return slices.ContainsFunc(c.members, func(m *member) bool {
		condition, _ := m.state()
		return condition == healthy
	})
}

// order returns the members in the order in which to ask them. Even those that seem to be away
// are among them: they may be back, and better a refused connection than a guess.
func (c *cluster) order() []*member {
	c.mu.Lock()
	current := c.current
	c.mu.Unlock()
	type ranked struct {
		member *member
		rank   condition
	}
	var all []ranked
	add := func(m *member) {
		condition, _ := m.state()
		all = append(all, ranked{m, condition})
	}
	add(current)
	for _, m := range c.members {
		if m != current {
			add(m)
		}
	}
	slices.SortStableFunc(all, func(a, b ranked) int { return int(a.rank) - int(b.rank) })
	ordered := make([]*member, 0, len(all))
	for _, r := range all {
		ordered = append(ordered, r.member)
	}
	return ordered
}

// prefer makes the member the one that is asked first.
func (c *cluster) prefer(m *member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = m
}

// ready says why no request can be served, nil if it can.
func (c *cluster) ready() error {
	if c.hasHealthy() {
		return nil
	}
	return errors.New("no member of etcd is healthy: " + c.explain())
}

// explain says for a person how the members are.
func (c *cluster) explain() string {
	var all []string
	for _, m := range c.members {
		all = append(all, m.explain())
	}
	return strings.Join(all, "; ")
}
