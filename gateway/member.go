package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const probeTimeout = 700 * time.Millisecond

// condition is how well a member is, the better the less.
type condition int

const (
	healthy    condition = iota // answers, and knows a leader
	leaderless                  // answers reads, but takes part in no decision
	away                        // does not answer
)

// member is one member of etcd.
type member struct {
	url *url.URL

	mu        sync.Mutex
	condition condition
	err       error     // why it is not healthy
	since     time.Time // since when
	failures  int       // probes in a row that found it not healthy
	cutTold   bool      // that requests were cut, since it was healthy last
	pending   map[*pending]struct{}
}

// pending is a request to the member that is under way.
type pending struct {
	wait bool // a long poll
	cut  context.CancelCauseFunc
}

var errNotAsked = errors.New("not asked yet")

func newMember(u *url.URL) *member {
	return &member{
		url:       u,
		condition: away,
		err:       errNotAsked,
		since:     time.Now(),
		pending:   make(map[*pending]struct{}),
	}
}

// state returns how the member is, and why it is not healthy.
func (m *member) state() (condition, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.condition, m.err
}

// explain says for a person how the member is.
func (m *member) explain() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.condition == healthy {
		return m.url.String() + ": answers"
	}
	return fmt.Sprintf("%s: %v (for %s)", m.url, m.err, time.Since(m.since).Round(time.Second))
}

// set notes how the member is, and returns how it was and how often in a row it is not healthy.
func (m *member) set(now condition, err error) (before condition, failures int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before = m.condition
	if before == healthy && now != healthy {
		m.since = time.Now()
	}
	m.condition, m.err = now, err
	if m.failures++; now == healthy {
		m.failures, m.cutTold = 0, false
	}
	return before, m.failures
}

// tellCut says whether this is the first cut since the member was healthy.
func (m *member) tellCut() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	first := !m.cutTold
	m.cutTold = true
	return first
}

// begin returns a context for a request to the member, which ends if the request is cut, and
// a function to call when the request is over.
func (m *member) begin(ctx context.Context, wait bool) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &pending{wait: wait, cut: cancel}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pending[p] = struct{}{}
	return ctx, func() {
		m.mu.Lock()
		delete(m.pending, p)
		m.mu.Unlock()
		cancel(nil)
	}
}

// cut ends the requests that are under way, or only the long polls among them.
func (m *member) cut(onlyPolls bool, cause error) (cut int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range m.pending {
		if p.wait || !onlyPolls {
			p.cut(cause)
			cut++
		}
	}
	return cut
}

// probe asks the member how it is. Its linearizable answer needs a leader, the serializable
// one only the process.
func (m *member) probe(ctx context.Context, client *http.Client) (condition, error) {
	if err := askHealth(ctx, client, m.url.String()+"/health?serializable=true"); err != nil {
		return away, err
	}
	if err := askHealth(ctx, client, m.url.String()+"/health"); err != nil {
		return leaderless, err
	}
	return healthy, nil
}

func askHealth(ctx context.Context, client *http.Client, target string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		var failure *url.Error
		if errors.As(err, &failure) { // it would repeat the URL
			err = failure.Err
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %s", probeTimeout)
		}
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return fmt.Errorf("read health: %w", err)
	}
	var health struct{ Health, Reason string }
	if err := json.Unmarshal(body, &health); err != nil || resp.StatusCode != http.StatusOK && health.Health == "" {
		return fmt.Errorf("health is %s: %.100q", resp.Status, body)
	}
	if health.Health != "true" {
		return fmt.Errorf("not healthy: %s", health.Reason)
	}
	return nil
}
