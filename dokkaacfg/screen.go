package dokkaacfg

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/cwriter"
	"github.com/vbauerster/mpb/v8/decor"
)

// liveScreen shows events on a terminal: lines as anywhere, and below them a line for each step that
// runs. What is written to it beside events gets above those, too.
type liveScreen struct {
	file  *os.File
	paint paint

	mu      sync.Mutex
	bars    *mpb.Progress // nil until a step runs
	running map[string]*runningStep
	rest    []byte // of a line that has no end yet, while steps are seen
}

// runningStep is the line of a step that runs.
type runningStep struct {
	bar   *mpb.Bar
	paint paint

	mu       sync.Mutex
	label    string
	detail   string
	sent, of int64
	turn     int
}

// isScreen tells a terminal that can move its cursor.
func isScreen(out io.Writer, getenv func(string) string) (*os.File, bool) {
	file, ok := out.(*os.File)
	return file, ok && cwriter.IsTerminal(int(file.Fd())) && getenv("TERM") != "dumb"
}

func newLiveScreen(file *os.File, paint paint) *liveScreen {
	return &liveScreen{file: file, paint: paint, running: map[string]*runningStep{}}
}

func (s *liveScreen) show(e progressEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if line := e.line(); line != "" {
		_ = s.write([]byte(line)) // a terminal that is gone is no reason to stop in the middle of the work
	}
	if e.Step == "" {
		return
	}
	key := e.Host + " " + e.Step
	switch e.State {
	case stepRunning:
		s.run(key, e)
	case stepEnded, stepFailed:
		if step := s.running[key]; step != nil {
			step.bar.Abort(true)
			delete(s.running, key)
		}
	}
}

// run shows a step, or what it is at.
func (s *liveScreen) run(key string, e progressEvent) {
	step := s.running[key]
	if step == nil {
		if s.bars == nil {
			s.bars = mpb.New(mpb.WithOutput(s.file))
		}
		step = &runningStep{label: e.prefix() + e.Step, paint: s.paint}
		step.bar = s.bars.MustAdd(0, mpb.BarFillerFunc(step.fill), mpb.BarFillerTrim(), mpb.BarRemoveOnComplete())
		s.running[key] = step
	}
	step.set(e)
}

func (r *runningStep) set(e progressEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sent, r.of = e.sent, e.of; e.of == 0 {
		r.detail = e.Detail
	}
}

// fill draws the step's line, no wider than the terminal is now.
func (r *runningStep) fill(to io.Writer, now decor.Statistics) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn++
	_, err := io.WriteString(to, r.draw(now.AvailableWidth-1)) // a full line would wrap on some
	return err
}

const (
	spinner  = `|/-\`
	barWidth = 24
)

func (r *runningStep) draw(width int) string {
	text := "  " + r.label
	if r.detail != "" {
		text += ": " + r.detail
	}
	if r.of > 0 {
		full := int(barWidth * min(r.sent, r.of) / r.of)
		text += fmt.Sprintf(" [%s%s] %s of %s", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), megabytes(r.sent), megabytes(r.of))
	}
	if width < 2 {
		return ""
	}
	for utf8.RuneCountInString(text) > width-1 {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return r.paint(green, spinner[r.turn%len(spinner):][:1]) + text
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// Write writes text above the steps.
func (s *liveScreen) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(text), s.write(text)
}

func (s *liveScreen) write(text []byte) error {
	if s.bars == nil {
		_, err := s.file.Write(text)
		return err
	}
	s.rest = append(s.rest, text...)
	end := bytes.LastIndexByte(s.rest, '\n') + 1
	if end == 0 {
		return nil
	}
	_, err := s.bars.Write(s.rest[:end])
	s.rest = append([]byte{}, s.rest[end:]...)
	return err
}

// close takes the steps away that are still seen, and leaves the cursor below all that was written.
func (s *liveScreen) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bars == nil {
		return
	}
	for _, step := range s.running {
		step.bar.Abort(true)
	}
	clear(s.running)
	s.bars.Wait()
	s.bars = nil
	_ = s.write(s.rest)
	s.rest = nil
}
