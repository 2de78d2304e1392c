//go:build linux

package kernel

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// namespace is a network of the test's own. It ends when nobody is in it any more.
type namespace struct {
	t    *testing.T
	file *os.File
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a network namespace needs root")
	}
	n := &namespace{t: t}
	made := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			n.file, err = os.Open("/proc/thread-self/ns/net")
		}
		made <- err
	}()
	if err := <-made; err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() { n.file.Close() })
	return n
}

// in runs f there: the sockets that f makes and the programs that it starts.
func (n *namespace) in(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // as above
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// mustIn runs f there, and fails the test with its error.
func (n *namespace) mustIn(f func() error) {
	n.t.Helper()
	if err := n.in(f); err != nil {
		n.t.Fatal(err)
	}
}

// nft runs nft there and returns what it wrote, without the white space around lines.
func (n *namespace) nft(args ...string) []string {
	n.t.Helper()
	var lines []string
	n.mustIn(func() error {
		out, err := exec.Command("nft", args...).CombinedOutput()
		if err != nil {
			n.t.Logf("nft %q: %s", args, out)
		}
		for line := range strings.Lines(string(out)) {
			if line = strings.TrimSpace(line); line != "" {
				lines = append(lines, line)
			}
		}
		return err
	})
	return lines
}

// ip runs ip there with the words, and with files from file descriptor 3 on.
func (n *namespace) ip(words string, files ...*os.File) {
	n.t.Helper()
	n.mustIn(func() error {
		command := exec.Command("ip", strings.Fields(words)...)
		command.ExtraFiles = files
		out, err := command.CombinedOutput()
		if err != nil {
			n.t.Logf("ip %s: %s", words, out)
		}
		return err
	})
}

// command runs a program and shows what it says if it fails.
func command(t *testing.T, name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Logf("%s %q: %s", name, args, out)
	}
	return err
}
