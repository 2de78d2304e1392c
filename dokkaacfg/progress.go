package dokkaacfg

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress tells a person what happens: a line per step, with what was done and how long it took
// since the line before. It is safe for concurrent use.
type progress struct {
	out   io.Writer
	start time.Time

	mu   sync.Mutex
	last time.Time
}

func newProgress(out io.Writer) *progress {
	now := time.Now()
	return &progress{out: out, start: now, last: now}
}

// title opens a part of the work.
func (p *progress) title(format string, args ...any) {
	fmt.Fprintf(p.out, "\n== %s\n", fmt.Sprintf(format, args...))
}

// say tells something that takes no time.
func (p *progress) say(format string, args ...any) {
	fmt.Fprintf(p.out, "   %s\n", fmt.Sprintf(format, args...))
}

// quote shows text from elsewhere.
func (p *progress) quote(text string) {
	for line := range strings.Lines(text) {
		p.say("  | %s", strings.TrimRight(line, "\n"))
	}
}

// done tells that a step is done.
func (p *progress) done(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	fmt.Fprintf(p.out, "   %s (%s)\n", fmt.Sprintf(format, args...), seconds(now.Sub(p.last)))
	p.last = now
}

// total is the time since the beginning.
func (p *progress) total() string { return seconds(time.Since(p.start)) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
