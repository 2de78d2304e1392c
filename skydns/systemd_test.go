package skydns

import (
	"net"
	"os"
	"strconv"
	"testing"
)

func TestPassedSockets(t *testing.T) {
	for title, c := range map[string]struct {
		pid, n string
		ok     bool
	}{
		"not started by systemd": {"", "", true},
		"another process's":      {strconv.Itoa(os.Getpid() + 1), "2", true},
		"none":                   {strconv.Itoa(os.Getpid()), "0", true},
		"no number":              {strconv.Itoa(os.Getpid()), "many", false},
	} {
		env := map[string]string{"LISTEN_PID": c.pid, "LISTEN_FDS": c.n}
		files, err := passedSockets(func(name string) string { return env[name] }, os.Getpid())
		if len(files) > 0 || (err == nil) != c.ok {
			t.Errorf("%s: %v, %v", title, files, err)
		}
	}
}

func TestPassedSocketsAreServed(t *testing.T) {
	bound, err := bindLoopback(t)
	if err != nil {
		t.Fatal(err)
	}
	addr := bound.addr()
	udp, err := bound.udp.File()
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := bound.tcp.File()
	if err != nil {
		t.Fatal(err)
	}
	if err := bound.close(); err != nil { // systemd's
		t.Fatal(err)
	}
	config := testConfig()
	config.Listen, config.Passed = nil, []*os.File{udp, tcp}
	for range 2 { // one server after the other
		source := newFakeSource()
		source.set(nil)
		s := newServer(t, config, source)
		stop := run(t, s)
		eventually(t, s.Ready)
		eventually(t, func() error { return answering(addr.String()) })
		stop()
	}
	other, err := net.ListenUnix("unix", &net.UnixAddr{Name: t.TempDir() + "/socket", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	file, err := other.File()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reopen(file); err == nil {
		t.Error("a socket of another kind is taken")
	}
}
