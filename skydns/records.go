package skydns

import (
	"context"
	"time"

	"github.com/dokkaa/dokkaa/skydns/zone"
)

const (
	// gatherTime is how long the first hint waits for those that come with it.
	gatherTime = 3 * time.Millisecond
	// rebuildInterval is the least time between two zones, and rebuildShare how much longer
	// than making one it is at least: a storm of changes must not take the processor from the
	// answers.
	rebuildInterval = 20 * time.Millisecond
	rebuildShare    = 3
	// checkInterval is how often the source is looked at without a hint.
	checkInterval = time.Second
)

// records are what the server knows of the store.
type records struct {
	zone  *zone.Zone
	index uint64
	known bool      // they are those of the store now
	seen  time.Time // when they last were
}

// follow keeps the zone up to date with the source until ctx ends.
func (s *Server) follow(ctx context.Context) {
	check := time.NewTicker(checkInterval)
	defer check.Stop()
	s.update(true)
	for {
		hinted := false
		select {
		case <-ctx.Done():
			return
		case <-s.source.Hint():
			hinted = true
			if !wait(ctx, gatherTime) {
				return
			}
		case <-check.C:
		}
		start := time.Now()
		s.update(hinted)
		if hinted && !wait(ctx, max(rebuildInterval, rebuildShare*time.Since(start))) {
			return
		}
	}
}

// update takes over the source's snapshot. Where it was never listed, or is no longer what the
// store holds, the records stay as they are: unknown is not empty.
func (s *Server) update(hinted bool) {
	snapshot, last, now := s.source.Snapshot(), s.records.Load(), time.Now()
	if !snapshot.Listed {
		return
	}
	next := &records{index: snapshot.Index, known: snapshot.Known, seen: now}
	if !snapshot.Known && last != nil {
		next.seen = last.seen
	}
	if last != nil && last.index == snapshot.Index && !hinted {
		next.zone = last.zone
	} else {
		var problems []zone.Problem
		next.zone, problems = s.builder.Build(entries(snapshot, "/"+s.config.PathPrefix), now)
		for _, p := range problems {
			s.log.Warn("record skipped", "key", p.Key, "err", p.Err)
		}
	}
	s.records.Store(next)
}

func (s *Server) countRecords() float64 {
	if r := s.records.Load(); r != nil {
		return float64(r.zone.Len())
	}
	return 0
}

func (s *Server) snapshotAge() float64 {
	r := s.records.Load()
	if r == nil || r.known {
		return 0
	}
	return time.Since(r.seen).Seconds()
}

// wait returns false if ctx ended before d was over.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
