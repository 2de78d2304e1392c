//go:build linux

package ending

import (
	"bufio"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

func TestAmong(t *testing.T) {
	all := []process{
		{1, 0, 1, "a"},                      // the container's own, whatever its environment says
		{5, 1, 1, ""},                       // its child
		{10, 0, 10, "a"},                    // the command
		{11, 10, 10, "a"}, {12, 11, 10, ""}, // its children, one without an environment
		{13, 1, 10, ""},                    // left by a child
		{14, 12, 14, ""}, {15, 14, 15, ""}, // in sessions of their own
		{16, 1, 16, "a"},                                     // a daemon by now
		{20, 0, 20, "b"}, {21, 20, 20, "b"}, {30, 0, 30, ""}, // other commands
		{99, 0, 99, "a"}, // this process
	}
	v := newVictims(This("a"))
	if got := v.among(all, 99); !slices.Equal(got, []int{10, 11, 12, 13, 14, 15, 16}) {
		t.Errorf("got %v", got)
	}
	// When the command is gone its session is still known.
	if got := v.among([]process{{1, 0, 1, ""}, {13, 1, 10, ""}}, 99); !slices.Equal(got, []int{13}) {
		t.Errorf("later: %v", got)
	}
	if got := newVictims(This("a")).among([]process{{1, 0, 1, ""}, {16, 1, 16, "a"}}, 99); len(got) > 0 {
		t.Errorf("left behind by one that ended by itself: %v", got)
	}
	v = newVictims(Others("b"))
	if got := v.among(all, 99); !slices.Contains(got, 10) || slices.Contains(got, 20) || slices.Contains(got, 30) || slices.Contains(got, 1) {
		t.Errorf("others: %v", got)
	}
}

func TestParseStat(t *testing.T) {
	for text, want := range map[string]struct {
		process
		alive bool
	}{
		"7 (sh) S 1 7 7 0 -1":        {process{pid: 7, parent: 1, session: 7}, true},
		"8 (a) Z 9) (b) R 7 8 6 0 -": {process{pid: 8, parent: 7, session: 6}, true},
		"9 (sh) Z 1 9 9 0 -1":        {process{pid: 9, parent: 1, session: 9}, false},
	} {
		if p, alive, err := parseStat(text); p != want.process || alive != want.alive || err != nil {
			t.Errorf("%s: %+v, %t, %v", text, p, alive, err)
		}
	}
	for _, text := range []string{"", "x", "7 (sh", "7 (sh) S", "x (sh) S 1 7 7"} {
		if _, _, err := parseStat(text); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}

// start starts a script that says when it is there.
func start(t *testing.T, mark, script string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // as Docker does
	cmd.Env = append(os.Environ(), Variable+"="+mark)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "there\n" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	return cmd
}

// mine are the commands of this process with the mark: seen from here, it is what is outside.
func mine(mark string) *victims {
	v := newVictims(This(mark))
	v.outside = os.Getpid()
	return v
}

func TestEnd(t *testing.T) {
	other := start(t, "test/other", "echo there; exec sleep 60")
	defer func() {
		if err := other.Process.Kill(); err != nil {
			t.Errorf("the other command is gone: %v", err)
		}
		_ = other.Wait() // killed
	}()
	polite := start(t, "test/polite", "sleep 60 & env -i sleep 60 & echo there; wait")
	left, err := mine("test/polite").find()
	if err != nil || len(left) != 3 {
		t.Fatalf("found %v, %v", left, err)
	}
	begin := time.Now()
	waited := make(chan error, 2)
	go func() { waited <- polite.Wait() }()
	if err := mine("test/polite").end(t.Context(), time.Minute); err != nil || time.Since(begin) > 30*time.Second {
		t.Errorf("%v after %s", err, time.Since(begin))
	}
	if err := <-waited; err == nil {
		t.Error("it ended by itself")
	}
	stubborn := start(t, "test/stubborn", "trap '' HUP TERM; echo there; while true; do sleep 0.1; done")
	go func() { waited <- stubborn.Wait() }()
	if err := mine("test/stubborn").end(t.Context(), 300*time.Millisecond); err != nil {
		t.Error(err)
	}
	if err := <-waited; err == nil || stubborn.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("it ended with %v", err)
	}
	if err := mine("test/nobody").end(t.Context(), time.Minute); err != nil {
		t.Error(err)
	}
}
