package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// pollTime is how long one poll waits for an event. etcd sends the header of the answer at
// once, so that each poll proves that its endpoint lives; but a member that is suspended
// later, or one behind a gateway that its host took away, is seen by the next poll only. And a
// poll that ends without an event costs a connection. 5 s is less than any lease takes to end.
const pollTime = 5 * time.Second

// Reasons to list again that say nothing against etcd.
var (
	errWindowMissed = errors.New("more was written than etcd remembers")
	errWentBack     = errors.New("the endpoint's index is lower than one seen before")
	errOtherCluster = errors.New("the endpoint is of another etcd cluster")
	errListAge      = errors.New("the last list is old")
	errUnknownEvent = errors.New("unknown event")
)

// poll waits for the first event at or after the index from, of a key or of all that is below
// it, for pollTime at most. No event is an answer without a node, whose index is one that
// nothing happened until. The endpoint is asked only once.
func (s *Store) poll(ctx context.Context, key string, recursive bool, from uint64) (answer, error) {
	query := url.Values{"wait": {"true"}, "waitIndex": {strconv.FormatUint(from, 10)}}
	if recursive {
		query.Set("recursive", "true")
	}
	r, err := newRequest(http.MethodGet, key, query)
	if err != nil {
		return answer{}, err
	}
	n := int(s.preferred.Load())
	waiting, cancel := context.WithTimeoutCause(ctx, pollTime, errPollOver)
	defer cancel()
	a, err := s.send(waiting, s.endpoints[n], r, s.options.TryTimeout)
	switch {
	case errors.Is(err, errPollOver) && a.index > 0:
		err = nil
	case hasCode(err, codeIndexCleared), hasCode(err, codeWatchCleared):
		return a, errWindowMissed
	case err != nil:
		if ctx.Err() == nil {
			s.avoid(n)
		}
		return a, err
	}
	if a.index+1 < from {
		return a, fmt.Errorf("%w: %d after %d", errWentBack, a.index, from-1)
	}
	return a, s.attest(ctx, n, a.node == nil)
}

// attest says why what was heard from the n-th endpoint is not to be believed: the endpoint has
// not proved that it is not cut off, or etcd is no longer that of our cluster.
func (s *Store) attest(ctx context.Context, n int, silent bool) error {
	unproven := silent && time.Since(s.born)-time.Duration(s.endpoints[n].proven.Load()) > pollTime
	due, err := s.identity()
	if err == nil && (due || unproven) {
		err = s.prove(ctx, n)
	}
	return err
}

var errPollOver = errors.New("no event in time")

// prove asks the n-th endpoint something that takes a quorum: a member that is cut off from the
// others hears of nothing, and its polls look like those of a quiet cluster. What it asks for is
// which cluster it is.
func (s *Store) prove(ctx context.Context, n int) error {
	key := s.options.ClusterKey
	if key == "" {
		key = "/"
	}
	r, err := newRequest(http.MethodGet, key, url.Values{"quorum": {"true"}})
	if err != nil {
		return err
	}
	a, err := s.tryOne(ctx, n, r, s.options.TryTimeout)
	switch {
	case errors.Is(err, ErrUnavailable):
		if ctx.Err() == nil {
			s.avoid(n)
		}
		return err
	case s.options.ClusterKey == "":
		return nil // whatever was agreed upon
	case errors.Is(err, ErrNotFound):
		return s.identify("")
	case err == nil:
		return s.identify(a.node.Value)
	}
	return nil
}
