package dokkaacfg

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress tells what happens: a line per step, with what was done and how long it took since the
// line before. It is safe for concurrent use.
type progress struct {
	view  view
	start time.Time

	mu   sync.Mutex
	last time.Time
}

// view is where events are shown. It is safe for concurrent use.
type view interface{ show(progressEvent) }

// newProgress tells through out, in the way of that: see showing.
func newProgress(out io.Writer) *progress {
	v, ok := out.(view)
	if !ok {
		v = &plainLines{out: out}
	}
	now := time.Now()
	return &progress{view: v, start: now, last: now}
}

// title opens a part of the work.
func (p *progress) title(format string, args ...any) {
	p.tell(progressEvent{State: stepTitle, Detail: fmt.Sprintf(format, args...)})
}

// say tells something that takes no time.
func (p *progress) say(format string, args ...any) {
	p.tell(progressEvent{State: stepNote, Detail: fmt.Sprintf(format, args...)})
}

// quote shows text from elsewhere.
func (p *progress) quote(text string) {
	for line := range strings.Lines(text) {
		p.say("  | %s", strings.TrimRight(line, "\n"))
	}
}

// done tells that something is done, which was no step of a host.
func (p *progress) done(format string, args ...any) {
	e := progressEvent{State: stepDone, Detail: fmt.Sprintf(format, args...)}
	e.Seconds = p.lap(&p.last)
	p.tell(e)
}

func (p *progress) tell(e progressEvent) {
	e.Time = time.Now()
	p.view.show(e)
}

// lap is the time since last, in seconds, which is now afterwards.
func (p *progress) lap(last *time.Time) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	took := now.Sub(*last)
	*last = now
	return took.Seconds()
}

// total is the time since the beginning.
func (p *progress) total() string { return seconds(time.Since(p.start).Seconds()) }

func seconds(s float64) string { return fmt.Sprintf("%.1fs", s) }

// step is something that takes time, on a host or, where that is "", on none. On a terminal it is
// seen until it ends.
type step struct {
	p          *progress
	host, name string
	last       time.Time
}

// step begins a step. The caller ends it.
func (p *progress) step(host, name string) *step {
	s := &step{p: p, host: host, name: name, last: time.Now()}
	s.tell(progressEvent{State: stepRunning})
	return s
}

// doing tells what the step is at. That is seen while it lasts, and makes no line.
func (s *step) doing(format string, args ...any) {
	s.tell(progressEvent{State: stepRunning, Detail: fmt.Sprintf(format, args...)})
}

// sent tells how much of what doing told of is over.
func (s *step) sent(n, of int64) { s.tell(progressEvent{State: stepRunning, sent: n, of: of}) }

// done tells what the step did, or a part of that.
func (s *step) done(format string, args ...any) {
	s.tell(progressEvent{State: stepDone, Detail: fmt.Sprintf(format, args...), Seconds: s.p.lap(&s.last)})
}

// end ends the step: err says what it failed with, nil for nothing.
func (s *step) end(err error) {
	e := progressEvent{State: stepEnded}
	if err != nil {
		e.State, e.Detail = stepFailed, err.Error()
	}
	s.tell(e)
}

func (s *step) tell(e progressEvent) {
	e.Host, e.Step = s.host, s.name
	s.p.tell(e)
}
