package engine

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	dockerclient "github.com/fsouza/go-dockerclient"
)

const (
	exitTimeout = 2 * time.Second // of Exit: it holds up the container's restart
	logLines    = 10              // of a log's end
	lineLimit   = 200             // characters of each
	lineBytes   = 64 << 10        // of the log's end that are looked at for them
)

// Exit is how a container ended.
type Exit struct {
	OutOfMemory bool     // Docker says that it was killed for that
	Log         []string // last lines of this run's log, each cut to what fits into a reason
}

// LastLine is the log's last line, "" if there is none.
func (x Exit) LastLine() string {
	if len(x.Log) == 0 {
		return ""
	}
	return x.Log[len(x.Log)-1]
}

// Exit tells how a container ended that did.
func (e *Engine) Exit(ctx context.Context, id string) (Exit, error) {
	ctx, cancel := context.WithTimeout(ctx, exitTimeout)
	defer cancel()
	client, err := e.Docker.Client(ctx)
	if err != nil {
		return Exit{}, err
	}
	container, err := client.InspectContainerWithOptions(dockerclient.InspectContainerOptions{ID: id, Context: ctx})
	if err != nil {
		return Exit{}, fmt.Errorf("inspect container: %w", err)
	}
	exit := Exit{OutOfMemory: container.State.OOMKilled}
	var last tail
	err = client.Logs(dockerclient.LogsOptions{Container: id, Context: ctx, Tail: strconv.Itoa(logLines), Stdout: true, Stderr: true,
		Since: container.State.StartedAt.Unix(), OutputStream: &last, ErrorStream: &last, RawTerminal: container.Config.Tty})
	if err != nil {
		return exit, fmt.Errorf("read the container's log: %w", err)
	}
	exit.Log = readableLines(string(last.end))
	return exit, nil
}

// tail keeps the end of what is written to it.
type tail struct{ end []byte }

var _ io.Writer = (*tail)(nil)

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.end = append(t.end, p...)
	if excess := len(t.end) - lineBytes; excess > 0 {
		t.end = append(t.end[:0], t.end[excess:]...)
	}
	return len(p), nil
}

// readable is the text's last line, as of readableLines.
func readable(text string) string {
	return Exit{Log: readableLines(text)}.LastLine()
}

// readableLines are the text's last lines that are not empty, without what would spoil a terminal
// and none longer than lineLimit.
func readableLines(text string) (lines []string) {
	for line := range strings.Lines(strings.ToValidUTF8(text, "?")) {
		if line = readableLine(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines[max(0, len(lines)-logLines):]
}

func readableLine(line string) string {
	runes := []rune(strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, line)))
	if len(runes) > lineLimit {
		return string(runes[:lineLimit-1]) + "…"
	}
	return string(runes)
}
