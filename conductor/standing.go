package conductor

import (
	"sync"
	"time"
)

// reopening is how long nothing must be the matter with a host that was closed before it is said to
// be open again. A Docker that comes back may fail once more, and what was placed would move again.
const reopening = 5 * time.Second

// standing is what is wrong with a host as others are told of it: what is wrong at once, that nothing is
// only when it lasts, but for the first time. The zero standing is open. Its method is for concurrent use.
type standing struct {
	mu    sync.Mutex
	told  string
	begun bool      // nothing was wrong once
	well  time.Time // since when nothing is wrong, zero if something is
}

// tell takes in the condition at now, "" for none, and returns what others are to be told.
func (s *standing) tell(condition string, now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case condition != "":
		s.told, s.well = condition, time.Time{}
	case !s.begun: // what was wrong is that this process had just begun
		s.told, s.begun = "", true
	case s.told == "":
	case s.well.IsZero():
		s.well = now
	case now.Sub(s.well) >= reopening:
		s.told = ""
	}
	return s.told
}
