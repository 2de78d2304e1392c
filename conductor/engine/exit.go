package engine

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	dockerclient "github.com/fsouza/go-dockerclient"
)

const (
	exitTimeout = 2 * time.Second // of Exit: it holds up the container's restart
	lineLimit   = 200             // characters of a log's last line
	lineBytes   = 64 << 10        // of the log's end that are looked at for it
)

// Exit is how a container ended.
type Exit struct {
	OutOfMemory bool   // Docker says that it was killed for that
	LastLine    string // of its log, cut to what fits into a reason; empty if there is none
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
	err = client.Logs(dockerclient.LogsOptions{Container: id, Context: ctx, Tail: "1", Stdout: true, Stderr: true,
		OutputStream: &last, ErrorStream: &last, RawTerminal: container.Config.Tty})
	if err != nil {
		return exit, fmt.Errorf("read the container's log: %w", err)
	}
	exit.LastLine = readable(string(last.end))
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

// readable is the text's last line, without what would spoil a terminal and not longer than
// lineLimit.
func readable(text string) string {
	text = strings.TrimSpace(strings.ToValidUTF8(text, "?"))
	text = text[strings.LastIndexByte(text, '\n')+1:]
	runes := []rune(strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)))
	if len(runes) > lineLimit {
		return string(runes[:lineLimit-1]) + "…"
	}
	return string(runes)
}
