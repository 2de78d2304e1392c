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

// sight is what the agent knows of Docker's list of containers. To read it costs Docker as much as
// there are containers, so not every event is a reason.
type sight struct {
	listed  moment // when it was read last
	acted   moment // when an action of the agent's own ended, which shows in the list
	changed moment // when something else happened, which may not show in it yet
	echoed  moment // when Docker told what most likely is the agent's own doing
}

// moment is a time that is set and read concurrently. Not a number: one would be of the wall clock,
// and after that was put back the agent would be blind for as long.
type moment struct{ at atomic.Pointer[time.Time] }

func (m *moment) set(at time.Time) { m.at.Store(&at) }

// get is zero before there was one.
func (m *moment) get() time.Time {
	if at := m.at.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// next is when the list is to be read again, zero if it shows all that is known to have happened.
func (s *sight) next() (next time.Time) {
	listed, changed, echoed := s.listed.get(), s.changed.get(), s.echoed.get()
	if !listed.After(changed) || !listed.After(s.acted.get()) {
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

// EngineHint makes the agent look again, at Docker too.
func (a *Agent) EngineHint() {
	a.sight.changed.set(time.Now())
	a.Hint()
}

// EngineEcho makes the agent look at Docker some time soon: something happened there that the agent
// most likely did itself.
func (a *Agent) EngineEcho() {
	a.sight.echoed.set(time.Now())
	a.Hint() // to be there in time
}

// look lists the containers if they may have changed.
func (a *Agent) look(ctx context.Context) error {
	now, next := time.Now(), a.sight.next()
	if a.listedOK && (next.IsZero() || next.After(now)) && now.Sub(a.sight.listed.get()) < resync {
		return nil
	}
	containers, err := a.Engine.List(ctx)
	if err != nil {
		a.listedOK = false
		return err
	}
	a.containers, a.listedOK = containers, true
	a.seen.Store(&sighting{containers, now})
	a.sight.listed.set(now)
	return nil
}
