package engine

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
)

// maxLogLine is how long a line may be, in bytes, before it is handed on in parts.
const maxLogLine = 64 << 10

// LogOptions say which lines of a log are wanted.
type LogOptions struct {
	Since  time.Time // zero: from the beginning
	Tail   int       // no more than so many last lines; below 0: all
	Follow bool      // go on until the container ends
}

// LogLine is a line that a container wrote.
type LogLine struct {
	Time   time.Time
	Stream string // stdout or stderr
	Text   string
}

// Logs calls line with each line of a container's log, until there are no more, line fails, or ctx
// ends. The lines of each stream come in their order.
func (e *Engine) Logs(ctx context.Context, id string, o LogOptions, line func(LogLine) error) error {
	query := url.Values{"stdout": {"1"}, "stderr": {"1"}, "timestamps": {"1"}, "tail": {"all"}}
	if o.Tail >= 0 {
		query.Set("tail", strconv.Itoa(o.Tail))
	}
	if !o.Since.IsZero() {
		query.Set("since", fmt.Sprintf("%d.%09d", o.Since.Unix(), o.Since.Nanosecond()))
	}
	if o.Follow {
		query.Set("follow", "1")
	}
	resp, err := e.Docker.Do(ctx, http.MethodGet, "/containers/"+url.PathEscape(id)+"/logs?"+query.Encode(), nil)
	if err != nil {
		return fmt.Errorf("read the container's log: %w", err)
	}
	defer resp.Body.Close()
	stdout, stderr := &lines{stream: "stdout", line: line}, &lines{stream: "stderr", line: line}
	if _, err = stdcopy.StdCopy(stdout, stderr, resp.Body); err == nil {
		err = stdout.end()
	}
	if err == nil {
		err = stderr.end()
	}
	if err != nil {
		return fmt.Errorf("read the container's log: %w", err)
	}
	return nil
}

// lines takes the bytes of a stream, and hands on its lines.
type lines struct {
	stream string
	line   func(LogLine) error
	rest   []byte // of a line that has not ended
}

// Write fails when line does.
func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		end := bytes.IndexByte(l.rest, '\n')
		if end < 0 && len(l.rest) < maxLogLine {
			return len(p), nil
		}
		next := end + 1
		if end < 0 {
			end, next = len(l.rest), len(l.rest)
		}
		if err := l.hand(l.rest[:end]); err != nil {
			return 0, err
		}
		l.rest = l.rest[next:]
	}
}

// end hands on a last line that does not end.
func (l *lines) end() error {
	if len(l.rest) == 0 {
		return nil
	}
	return l.hand(l.rest)
}

// hand hands on a line, which Docker put the time in front of. A part of a long one has none.
func (l *lines) hand(text []byte) error {
	line := LogLine{Stream: l.stream, Text: string(text)}
	if stamp, rest, found := bytes.Cut(text, []byte(" ")); found {
		if at, err := time.Parse(time.RFC3339Nano, string(stamp)); err == nil {
			line.Time, line.Text = at, string(rest)
		}
	}
	return l.line(line)
}
