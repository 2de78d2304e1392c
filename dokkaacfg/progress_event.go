package dokkaacfg

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// progressEvent is what happens in a command's work. Its JSON is what --json writes.
type progressEvent struct {
	Time    time.Time `json:"time"`
	Host    string    `json:"host,omitempty"`
	Step    string    `json:"step,omitempty"`
	State   stepState `json:"state"`
	Detail  string    `json:"detail,omitempty"`
	Seconds float64   `json:"seconds,omitempty"` // what is done took

	sent, of int64 // for eyes only
}

type stepState string

const (
	stepRunning stepState = "running"
	stepDone    stepState = "done"   // the step, or a part of it
	stepEnded   stepState = "ended"  // and has failed with nothing
	stepFailed  stepState = "failed" // the step, or without one, the command
	stepTitle   stepState = "title"  // of a part of the work
	stepNote    stepState = "note"   // what else a person reads
)

// line is what a person reads of the event, "" for nothing.
func (e progressEvent) line() string {
	switch e.State {
	case stepTitle:
		return fmt.Sprintf("\n== %s\n", e.Detail)
	case stepNote:
		return fmt.Sprintf("   %s\n", e.Detail)
	case stepDone:
		return fmt.Sprintf("   %s%s (%s)\n", e.prefix(), e.Detail, seconds(e.Seconds))
	}
	return "" // what failed is said at the end
}

func (e progressEvent) prefix() string {
	if e.Host == "" {
		return ""
	}
	return "host " + e.Host + ": "
}

// plainLines shows events as lines, where there is no terminal.
type plainLines struct {
	mu  sync.Mutex
	out io.Writer
}

func (p *plainLines) show(e progressEvent) {
	if line := e.line(); line != "" {
		p.mu.Lock()
		defer p.mu.Unlock()
		fmt.Fprint(p.out, line)
	}
}

// jsonLines writes a JSON object per event. What a command writes beside its events becomes events
// too, a note per line.
type jsonLines struct {
	mu   sync.Mutex
	out  io.Writer
	rest []byte // of a line that has no end yet
}

func (j *jsonLines) show(e progressEvent) {
	if e.of > 0 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.write(e)
}

func (j *jsonLines) write(e progressEvent) {
	encoder := json.NewEncoder(j.out)
	encoder.SetEscapeHTML(false)
	// A reader that is gone is no reason to stop in the middle of the work.
	_ = encoder.Encode(e)
}

// Write takes text for people.
func (j *jsonLines) Write(text []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.rest = append(j.rest, text...)
	for {
		line, rest, found := bytes.Cut(j.rest, []byte("\n"))
		if !found {
			return len(text), nil
		}
		j.note(line)
		j.rest = rest
	}
}

func (j *jsonLines) note(line []byte) {
	if line = bytes.TrimSpace(line); len(line) > 0 {
		j.write(progressEvent{Time: time.Now(), State: stepNote, Detail: string(line)})
	}
}

// close writes what has no end of line.
func (j *jsonLines) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.note(j.rest)
	j.rest = nil
}
