package skydns

import (
	"context"
	"time"

	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/skydns/zone"
)

// checkInterval is how often the source is looked at without a hint.
const checkInterval = time.Second

// records are what the server knows of the store.
type records struct {
	zone     *zone.Zone
	snapshot store.Snapshot // that the zone was made of
	known    bool           // they are those of the store now
	seen     time.Time      // when they last were
	stubs    *zone.Node     // of the stub zones, nil if there are none
}

// follow keeps the zone up to date with the source until ctx ends. A change is taken over as soon
// as it is known: to wait for others would gain nothing, as each costs the same however many there
// are, and those that come in the meantime are taken over together.
func (s *Server) follow(ctx context.Context) {
	check := time.NewTicker(checkInterval)
	defer check.Stop()
	for {
		s.update()
		select {
		case <-ctx.Done():
			return
		case <-s.source.Hint():
		case <-check.C:
		}
	}
}

// update takes over the source's snapshot. Where it was never listed, or is no longer what the
// store holds, the records stay as they are: unknown is not empty.
func (s *Server) update() {
	snapshot, last, now := s.source.Snapshot(), s.records.Load(), time.Now()
	if !snapshot.Listed {
		return
	}
	if last == nil {
		last = &records{zone: &zone.Zone{}, seen: now}
	}
	next := &records{snapshot: snapshot, known: snapshot.Known, seen: now}
	if !snapshot.Known {
		next.seen = last.seen
	}
	var problems []zone.Problem
	if keys, all := s.source.Changed(last.snapshot, snapshot); all {
		next.zone, problems = s.builder.Build(last.zone, entries(snapshot, "/"+s.config.PathPrefix), now)
	} else {
		next.zone, problems = s.builder.Apply(last.zone, changes(snapshot, keys), now)
	}
	for _, p := range problems {
		s.log.Warn("record skipped", "key", p.Key, "err", p.Err)
	}
	s.findStubs(last, next)
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
