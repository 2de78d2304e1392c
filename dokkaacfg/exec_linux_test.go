package dokkaacfg

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dokkaa/dokkaa/internal/vhost"
)

// commandTest tries what runs in instances, on the first two hosts of a cluster that is there.
type commandTest struct {
	*testing.T
	program string
	flags   []string
	cluster *vhost.Cluster
}

const shells = `{"try/shell": {"image": "dockerfile/ubuntu", "scale": 2, "max_per_host": 1, "update": {"min_healthy_time": "1s"},
	"command": ["/bin/bash", "-c", "trap exit TERM; while true; do sleep 1; done"]},
	"try/page": {"image": "dockerfile/nginx", "services": {"web": 80}, "scale": 2, "max_per_host": 1, "update": {"min_healthy_time": "1s"}}}`

func testCommands(t *testing.T, program string, flags []string, cluster *vhost.Cluster) {
	c := commandTest{t, program, flags, cluster}
	if code, out, errOut := c.call(strings.NewReader(shells), "apply", "-f", "-"); code != 0 {
		t.Fatalf("apply: %d\n%s%s", code, out, errOut)
	}
	for name, test := range map[string]func(commandTest){
		"tunnels":              commandTest.tunnels,
		"runs":                 commandTest.runs,
		"output and exit code": commandTest.output,
		"a terminal":           commandTest.terminal,
		"a megabyte":           commandTest.megabyte,
		"what is refused":      commandTest.refusals,
		"an end with somebody": commandTest.ends,
	} {
		t.Run(name, func(t *testing.T) {
			c := c
			c.T = t
			test(c)
		})
	}
}

func (c commandTest) call(in io.Reader, args ...string) (code int, out, errOut string) {
	var stdout, stderr bytes.Buffer
	code = Main(c.Context(), append(c.flags[:len(c.flags):len(c.flags)], args...), in, &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func (c commandTest) output() {
	code, out, errOut := c.call(strings.NewReader("unread"), "exec", "-e", "A=b", "-w", "/tmp", "try/shell", "--", "/bin/bash", "-c", "echo $A $PWD; echo err >&2; read x; exit 7")
	if code != 7 || out != "b /tmp\n" || errOut != "err\n" {
		c.Errorf("%d %q %q", code, out, errOut)
	}
}

func (c commandTest) megabyte() {
	want := make([]byte, 1<<20)
	if _, err := rand.Read(want); err != nil {
		c.Fatal(err)
	}
	if code, out, errOut := c.call(bytes.NewReader(want), "exec", "-i", "try/shell", "cat"); code != 0 || out != string(want) {
		c.Errorf("%d, %d bytes, %s", code, len(out), errOut)
	}
}

func (c commandTest) refusals() {
	for _, test := range []struct {
		args string
		code int
		says string
	}{
		{"none/none ls", 1, "there is no container none/none"},
		{"--slot=9 try/shell ls", 1, "there is no such instance of try/shell: dokkaacfg ps try/shell shows which there are"},
		{"try/shell /nowhere", 126, `the image of try/shell has no command /nowhere, or it cannot be run`},
		{"try/page /bin/sh", 126, `an image has only what it brings`},
		{"-t try/shell ls", 2, "-t needs a terminal"},
		{"try/shell", 2, "which command?"},
		{"try/shell -t ls", 2, "flags stand before the container"},
	} {
		code, out, errOut := c.call(strings.NewReader(""), append([]string{"exec"}, strings.Fields(test.args)...)...)
		if code != test.code && (test.code != 126 || code != 127) || !strings.Contains(errOut, test.says) {
			c.Errorf("exec %s: %d %s%s", test.args, code, out, errOut)
		}
	}
}

// openPTY makes a terminal: what is typed at one end the other reads.
func openPTY(t *testing.T, rows, columns uint16) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	resize(t, person, rows, columns)
	return person, program
}

func resize(t *testing.T, person *os.File, rows, columns uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(person.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		t.Fatal(err)
	}
}

// terminal types at a shell, changes the window, and interrupts what runs.
func (c commandTest) terminal() {
	person, program := openPTY(c.T, 31, 97)
	before, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
	if err != nil {
		c.Fatal(err)
	}
	ended := make(chan int, 1)
	go func() {
		args := append(c.flags[:len(c.flags):len(c.flags)], "exec", "-it", "try/shell", "--", "/bin/bash", "--norc")
		ended <- Main(context.Background(), args, program, program, program)
	}()
	var mu sync.Mutex
	var seen strings.Builder
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := person.Read(buffer)
			if err != nil {
				return // the test has ended
			}
			mu.Lock()
			seen.Write(buffer[:n])
			mu.Unlock()
		}
	}()
	expect := func(text string) {
		c.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			mu.Lock()
			got := seen.String()
			found := strings.Index(got, text)
			if found >= 0 {
				seen.Reset()
				seen.WriteString(got[found+len(text):])
			}
			mu.Unlock()
			if found >= 0 {
				return
			}
			if time.Now().After(deadline) {
				c.Fatalf("there is no %q in %q", text, got)
			}
		}
	}
	write := func(text string) {
		c.Helper()
		if _, err := person.WriteString(text); err != nil {
			c.Fatal(err)
		}
	}
	write("PS1='%% '; test -t 0 && test -t 1 && echo is a'\\n' terminal\r")
	expect("is a\\n terminal")
	write("(:); echo size $LINES $COLUMNS\r")
	expect("size 31 97")
	resize(c.T, person, 20, 70)
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		c.Fatal(err)
	}
	write("until (:); test $COLUMNS = 70; do sleep 0.1; done; echo size $LINES $COLUMNS\r")
	expect("size 20 70")
	write("echo going to'\\n'sleep; sleep 1000\r")
	expect("to\\nsleep")
	write("\x10\x11\x03") // keys that Docker would take for its own, and an interrupt
	write("echo inter'\\n'rupted; exit 9\r")
	expect("inter\\nrupted")
	select {
	case code := <-ended:
		if code != 9 {
			c.Errorf("exit code %d", code)
		}
	case <-time.After(20 * time.Second):
		c.Fatal("it does not end")
	}
	if after, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS); err != nil || *after != *before {
		c.Errorf("the terminal is left as %+v, %v", after, err)
	}
}

// start starts a command that does not end by itself, with children, one of which has no environment.
func (c commandTest) start(slot int, mark string) *exec.Cmd {
	c.Helper()
	script := fmt.Sprintf("trap '' HUP; sleep %[1]s1 & env -i /bin/sleep %[1]s2 & echo there; while true; do sleep %[1]s3; done", mark)
	cmd := exec.CommandContext(c.Context(), c.program, append(c.flags[:len(c.flags):len(c.flags)], "exec", fmt.Sprintf("--slot=%d", slot), "try/shell", "--", "/bin/bash", "-c", script)...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		c.Fatal(err)
	}
	there := make([]byte, 6)
	if _, err := io.ReadFull(out, there); err != nil {
		c.Fatal(err)
	}
	return cmd
}

// running are the command lines in an instance with one of these marks, seen from inside.
func (c commandTest) running(slot int, mark string) string {
	_, out, errOut := c.call(strings.NewReader(""), "exec", fmt.Sprintf("--slot=%d", slot), "try/shell", "--", "/bin/bash", "-c",
		`for p in /proc/[0-9]*; do { while IFS= read -r -d "" word; do printf "%s " "$word"; done < $p/cmdline; } 2>/dev/null; echo; done`)
	var found []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, "sleep "+mark) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return strings.Join(append(found, strings.TrimSpace(errOut)), "\n")
}

// ends has commands lose their client, its gateway and their conductor: none is left, nor a child.
func (c commandTest) ends() {
	var slots []int // by host
	for host := range 2 {
		_, out, _ := c.call(strings.NewReader(""), "ps", "try/shell")
		for line := range strings.Lines(out) {
			if fields := strings.Fields(line); len(fields) > 2 && fields[2] == c.cluster.Host(host+1).IP().String() {
				slots = append(slots, int(fields[1][0]-'0'))
			}
		}
	}
	if len(slots) != 2 {
		c.Fatalf("instances on hosts: %v", slots)
	}
	docker := func(host int, args ...string) string {
		c.Helper()
		out, err := exec.CommandContext(c.Context(), "docker", append([]string{"-H", c.cluster.Host(host).DockerHost()}, args...)...).CombinedOutput()
		if err != nil {
			c.Fatalf("docker %q: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	killed, interrupted, gateway, conductor := c.start(slots[0], "711"), c.start(slots[0], "712"), c.start(slots[0], "713"), c.start(slots[1], "714")
	if is := c.running(slots[0], "711"); !strings.Contains(is, "sleep 7112") {
		c.Errorf("the command is not seen: %s", is)
	}
	if err := errors.Join(killed.Process.Kill(), interrupted.Process.Signal(syscall.SIGINT)); err != nil {
		c.Fatal(err)
	}
	_ = killed.Wait() // it was killed
	if err := interrupted.Wait(); interrupted.ProcessState.ExitCode() != 130 {
		c.Errorf("interrupted: %v", err)
	}
	gone := func(slot int, mark string) {
		c.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
			is := c.running(slot, mark)
			if is == "" {
				return
			}
			if time.Now().After(deadline) {
				c.Errorf("it still runs: %s", is)
				return
			}
		}
	}
	gone(slots[0], "711")
	if is := c.running(slots[0], "713"); !strings.Contains(is, "sleep 7133") {
		c.Errorf("another command: %s", is)
	}
	docker(1, "restart", "--time=10", "gateway")
	if docker(2, "kill", "--signal=KILL", "conductor"); docker(2, "start", "conductor") == "" {
		c.Error("the conductor is not there")
	}
	for _, cmd := range []*exec.Cmd{gateway, conductor} {
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
			c.Errorf("with its host gone: %v", err)
		}
	}
	gone(slots[0], "713")
	gone(slots[1], "714")
}
