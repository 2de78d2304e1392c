package agent

import (
	"context"
	"sync/atomic"
	"time"
)

// How Docker's list follows what happens.
const (
	// Docker tells of the end of a container before its list shows it. So for a while after a change
	// the list is read again and again, after steps of at least so long.
	settling     = 300 * time.Millisecond
	settlingStep = 15 * time.Millisecond
	// echoDelay is how long it may take until the list is read for something that is most likely the
	// agent's own doing.
	echoDelay = 300 * time.Millisecond
)

// sight is what the agent knows of Docker's list of containers: moments, in nanoseconds of Unix
// time. To read it costs Docker as much as there are containers, so not every event is a reason.
type sight struct {
	listed  atomic.Int64 // when it was read last
	acted   atomic.Int64 // when an action of the agent's own ended, which shows in the list
	changed atomic.Int64 // when something else happened, which may not show in it yet
	echoed  atomic.Int64 // when Docker told what most likely is the agent's own doing
}

// next is when the list is to be read again, zero if it shows all that is known to have happened.
func (s *sight) next() (next time.Time) {
	listed, changed, echoed := time.Unix(0, s.listed.Load()), time.Unix(0, s.changed.Load()), time.Unix(0, s.echoed.Load())
	if !listed.After(changed) || s.listed.Load() <= s.acted.Load() {
		return listed
	}
	if since := listed.Sub(changed); since < settling {
		next = listed.Add(max(settlingStep, since/4))
	}
	if at := echoed.Add(echoDelay); !listed.After(echoed) && (next.IsZero() || at.Before(next)) {
		next = at
	}
	return next
}

// note sets one of the moments to now.
func note(moment *atomic.Int64) { moment.Store(time.Now().UnixNano()) }

// EngineHint makes the agent look again, at Docker too.
func (a *Agent) EngineHint() {
	note(&a.sight.changed)
	a.Hint()
}

// EngineEcho makes the agent look at Docker some time soon: something happened there that the agent
// most likely did itself.
func (a *Agent) EngineEcho() {
	note(&a.sight.echoed)
	a.Hint() // to be there in time
}

// look lists the containers if they may have changed.
func (a *Agent) look(ctx context.Context) error {
	now, next := time.Now(), a.sight.next()
	if a.listedOK && (next.IsZero() || next.After(now)) && now.Sub(time.Unix(0, a.sight.listed.Load())) < resync {
		return nil
	}
	containers, err := a.Engine.List(ctx)
	if err != nil {
		a.listedOK = false
		return err
	}
	a.containers, a.listedOK = containers, true
	a.seen.Store(&sighting{containers, now})
	a.sight.listed.Store(now.UnixNano())
	return nil
}
