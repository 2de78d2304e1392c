package daemon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

type testSettings struct {
	Settings
	HostIP string `name:"host-ip" env:"DAEMON_TEST_IP" default:"10.0.0.1" help:"An address."`
}

// testDaemon runs until its context ends, or fails at once.
type testDaemon struct {
	fails   error
	started chan struct{}
}

func (d *testDaemon) Run(ctx context.Context) error {
	if d.fails != nil {
		return d.fails
	}
	close(d.started)
	<-ctx.Done()
	return nil
}

func (d *testDaemon) Ready() error { return errors.New("not yet") }

func runTest(s *testSettings, d *testDaemon, args ...string) (code int, stderr string) {
	var out bytes.Buffer
	code = run(Info{Name: "test", HTTPAddr: "127.0.0.1:0"}, s, func(Env) (Daemon, error) { return d, nil }, args, &out, &out)
	return code, out.String()
}

func TestFlagBeatsVariableBeatsDefault(t *testing.T) {
	fails := &testDaemon{fails: errors.New("x")}
	for _, test := range []struct{ variable, flag, want string }{
		{"", "", "10.0.0.1"}, {"10.0.0.2", "", "10.0.0.2"}, {"10.0.0.2", "--host-ip=10.0.0.3", "10.0.0.3"},
	} {
		if test.variable != "" {
			t.Setenv("DAEMON_TEST_IP", test.variable)
		}
		var s testSettings
		var args []string
		if test.flag != "" {
			args = []string{test.flag}
		}
		if code, out := runTest(&s, fails, args...); code != 1 || s.HostIP != test.want {
			t.Errorf("variable %q, flag %q: %s, want %s; code %d: %s", test.variable, test.flag, s.HostIP, test.want, code, out)
		}
	}
}

func TestWrongUsageIsExitCode2(t *testing.T) {
	for _, arg := range []string{"--no-such-flag", "--log-level=loud"} {
		if code, out := runTest(&testSettings{}, &testDaemon{}, arg); code != 2 || !strings.Contains(out, "--help") {
			t.Errorf("%s: code %d, %q", arg, code, out)
		}
	}
}

func TestOrderlyEndIsExitCode0(t *testing.T) {
	// Something that takes the signal even before run does, so that the test process lives.
	guard := make(chan os.Signal, 1)
	signal.Notify(guard, syscall.SIGTERM)
	defer signal.Stop(guard)
	d := &testDaemon{started: make(chan struct{})}
	code := make(chan int, 1)
	go func() {
		c, _ := runTest(&testSettings{}, d, "--log-level=debug")
		code <- c
	}()
	<-d.started
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case c := <-code:
		if c != 0 {
			t.Errorf("code %d", c)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("does not end")
	}
}

// duck serves for a while after it was told to end.
type duck struct{ testDaemon }

func (*duck) Ready() error            { return nil }
func (*duck) LameDuck() time.Duration { return 300 * time.Millisecond }

func TestLameDuckSaysSo(t *testing.T) {
	guard := make(chan os.Signal, 1) // see above
	signal.Notify(guard, syscall.SIGTERM)
	defer signal.Stop(guard)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	ready := func() int {
		resp, err := http.Get("http://" + addr + "/readyz")
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	d := &duck{testDaemon{started: make(chan struct{})}}
	code := make(chan int, 1)
	go func() {
		code <- run(Info{Name: "test", HTTPAddr: addr}, &testSettings{}, func(Env) (Daemon, error) { return d, nil }, nil, io.Discard, io.Discard)
	}()
	<-d.started
	for ready() != http.StatusOK {
		time.Sleep(time.Millisecond)
	}
	start := time.Now()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for ready() == http.StatusOK {
		time.Sleep(time.Millisecond)
	}
	if status := ready(); status != http.StatusServiceUnavailable {
		t.Errorf("readyz of a lame duck: %d", status)
	}
	if c := <-code; c != 0 || time.Since(start) < d.LameDuck() {
		t.Errorf("code %d after %s", c, time.Since(start))
	}
}

func TestHealthcheck(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: operationsHandler(t.Context(), &testDaemon{}, nil), ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }() // ends with Close
	addr := listener.Addr().String()
	if code, out := runTest(&testSettings{}, &testDaemon{}, "--healthcheck", "--http-addr="+addr); code != 0 {
		t.Errorf("of a healthy daemon: code %d: %s", code, out)
	}
	if err := checkHealth(addr, processNamespace()); err != nil {
		t.Errorf("of the container's own daemon: %v", err)
	}
	if err := checkHealth(addr, "another"); err == nil || !strings.Contains(err.Error(), "another container's") {
		t.Errorf("of another container's daemon: %v", err)
	}
	resp, err := http.Get("http://" + addr + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readyz of a daemon that is not ready: %s", resp.Status)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	<-done
	if code, _ := runTest(&testSettings{}, &testDaemon{}, "--healthcheck", "--http-addr="+addr); code != 1 {
		t.Errorf("of no daemon: code %d", code)
	}
}

// shifts is a daemon that serves in turns.
type shifts struct {
	testDaemon
	turns chan context.Context
}

func (s *shifts) Turn(ctx context.Context) (context.Context, error) {
	select {
	case turn := <-s.turns:
		return turn, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestWhoTakesTurnsHasTheAddressDuringItsOwn(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0") // has its turn
	if err != nil {
		t.Fatal(err)
	}
	addr := other.Addr().String()
	d := &shifts{turns: make(chan context.Context)}
	run, err := operations(addr, operationsHandler(t.Context(), d, nil), d)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	for range 2 {
		turn, end := context.WithCancel(t.Context())
		d.turns <- turn
		time.Sleep(2 * addressPause)
		other.Close()
		for checkHealth(addr, "") != nil {
			time.Sleep(time.Millisecond)
		}
		end()
		for other, err = net.Listen("tcp", addr); err != nil; other, err = net.Listen("tcp", addr) {
			time.Sleep(time.Millisecond)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	other.Close()
}

func TestFlagsWithOneDash(t *testing.T) {
	got := DoubleDashes([]string{"-addr", "127.0.0.1:53", "-rcache=-1", "-h", "--ttl", "-5", "--", "-name"})
	want := []string{"--addr", "127.0.0.1:53", "--rcache=-1", "-h", "--ttl", "-5", "--", "-name"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEmptyVariablesAreNone(t *testing.T) {
	t.Setenv("LOG_LEVEL", "")
	if code, out := runTest(&testSettings{}, &testDaemon{}, "--no-such-flag"); code != 2 || strings.Contains(out, "LOG_LEVEL") {
		t.Errorf("code %d, %q", code, out)
	}
	if _, set := os.LookupEnv("LOG_LEVEL"); set {
		t.Error("the empty variable is still there")
	}
}
