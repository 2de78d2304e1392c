package dokkaacfg

import (
	"io"
	"os"

	"golang.org/x/term"
)

// paint colours text for people, and does nothing where colours are not wanted.
type paint func(colour, text string) string

const (
	red    = "31"
	green  = "32"
	yellow = "33"
)

// newPaint colours what goes to a terminal, unless the environment says NO_COLOR (no-color.org).
func newPaint(out io.Writer, getenv func(string) string) paint {
	file, isFile := withoutScreen(out).(*os.File)
	if !isFile || !isTerminal(file) || getenv("NO_COLOR") != "" || getenv("TERM") == "dumb" {
		return func(_, text string) string { return text }
	}
	return func(colour, text string) string { return "\x1b[" + colour + "m" + text + "\x1b[0m" }
}

// isTerminal tells whether a person is at the other end. /dev/null, which is a device too, is none.
func isTerminal(end any) bool {
	file, ok := end.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
