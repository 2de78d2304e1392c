package dokkaacfg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// terminal is a real one, of the kernel's, and who looks at it.
type terminal struct {
	*testing.T
	master, slave *os.File
	read          sync.WaitGroup

	mu   sync.Mutex
	text bytes.Buffer
}

func newTerminal(t *testing.T, columns int) *terminal {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{T: t, master: os.NewFile(uintptr(fd), "ptmx")}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		term.slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(term.slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: uint16(columns)})
	}
	if err != nil {
		t.Fatal(err)
	}
	term.read.Go(func() {
		data := make([]byte, 4096)
		for {
			n, err := term.master.Read(data)
			term.mu.Lock()
			term.text.Write(data[:n])
			term.mu.Unlock()
			if err != nil {
				return // EIO: nobody has it open any more
			}
		}
	})
	t.Cleanup(func() {
		term.slave.Close()
		term.read.Wait()
		term.master.Close()
	})
	return term
}

// raw is all that was written.
func (t *terminal) raw() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

var escape = regexp.MustCompile(`^\x1b\[(\d*)([A-Za-z])`)

// seen are the lines that a person sees.
func (t *terminal) seen() string {
	lines, row := []string{""}, 0
	for text := t.raw(); text != ""; {
		if code := escape.FindStringSubmatch(text); code != nil {
			text = text[len(code[0]):]
			switch code[2] {
			case "A":
				up, _ := strconv.Atoi(code[1])
				row = max(0, row-up)
			case "J":
				lines = append(lines[:row], "")
			case "m":
			default:
				t.Fatalf("it writes %q", code[0])
			}
			continue
		}
		switch text[0] {
		case '\n':
			if row++; row == len(lines) {
				lines = append(lines, "")
			}
		case '\r':
		default:
			lines[row] += text[:1]
		}
		text = text[1:]
	}
	return strings.Join(lines, "\n")
}

// shows waits until a person sees all of that.
func (t *terminal) shows(wanted ...string) {
	t.Helper()
	err := poll(t.Context(), 10*time.Second, func(context.Context) error {
		seen := t.seen()
		if i := slices.IndexFunc(wanted, func(want string) bool { return !strings.Contains(seen, want) }); i >= 0 {
			return fmt.Errorf("%q is not seen in\n%s", wanted[i], seen)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// begin is how a command begins on the terminal.
func (t *terminal) begin() (p *invocation, end func(error)) {
	t.Helper()
	p = newInvocation(strings.NewReader(""), t.slave, t.slave)
	cmd := new(cobra.Command)
	progressFlag(cmd)
	return p, p.showing(cmd)
}

// Steps of hosts are seen side by side while they last, below all lines, whoever writes these; when
// the command ends, nothing but lines is left.
func TestProgressOnATerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	term := newTerminal(t, 60)
	p, end := term.begin()
	fmt.Fprint(p.out, "Type the cluster's name: ") // a question is seen before its answer
	term.shows("Type the cluster's name: ")
	fmt.Fprintln(p.out)
	progress := newProgress(p.out)
	progress.title("Cluster web")
	first, second := progress.step("10.0.0.1", "images"), progress.step("10.0.0.2", "images")
	first.doing("dokkaa/etcd:latest")
	first.sent(5_000_000, 10_000_000)
	second.doing("a line that is far too long for a terminal of sixty columns, and ends in: END")
	term.shows("host 10.0.0.1: images: dokkaa/etcd:latest [============", "host 10.0.0.2: images: a line")
	fmt.Fprintln(p.errOut, "level=WARN msg=between")
	first.done("loaded")
	first.end(nil)
	term.shows("\n== Cluster web\nlevel=WARN msg=between\n   host 10.0.0.1: loaded (", "host 10.0.0.2: images: a line")
	if err := poll(t.Context(), 10*time.Second, func(context.Context) error {
		if seen := term.seen(); strings.Contains(seen, "etcd:latest") {
			return fmt.Errorf("a step that ended is still seen:\n%s", seen)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	end(errors.New("interrupted")) // with a step that did not end
	fmt.Fprintln(term.slave, "dokkaacfg: interrupted")
	term.shows("\ndokkaacfg: interrupted\n")
	want := regexp.MustCompile(`^Type the cluster's name: \n\n== Cluster web\nlevel=WARN msg=between\n   host 10.0.0.1: loaded \(\d\.\ds\)\ndokkaacfg: interrupted\n$`)
	if seen := term.seen(); !want.MatchString(seen) {
		t.Errorf("left on the terminal:\n%q", seen)
	}
	if raw := term.raw(); strings.Contains(raw, "END") || !strings.Contains(raw, "\x1b[32m") {
		t.Errorf("written:\n%q", raw)
	}
}

// What writes no colours, and what is no terminal that could show steps.
func TestProgressWithoutColours(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	term := newTerminal(t, 60)
	p, end := term.begin()
	newProgress(p.out).step("10.0.0.1", "images")
	term.shows("host 10.0.0.1: images")
	end(nil)
	if raw := term.raw(); regexp.MustCompile(`\x1b\[\d+m`).MatchString(raw) {
		t.Errorf("coloured: %q", raw)
	}

	t.Setenv("TERM", "dumb")
	p, end = newTerminal(t, 60).begin()
	defer end(nil)
	if _, live := p.out.(*liveScreen); live {
		t.Error("steps are shown on a terminal that cannot move its cursor")
	}
}
