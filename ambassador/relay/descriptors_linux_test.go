package relay

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fewDescriptors names the backend of a process that has too few of them.
const fewDescriptors = "RELAY_TEST_BACKEND"

// TestFewDescriptors is that process. It says where it listens, and ends with its input.
func TestFewDescriptors(t *testing.T) {
	backend, form := os.Getenv(fewDescriptors), os.Getenv(fewDescriptors+"_FORM")
	if backend == "" {
		return // called by nobody
	}
	s := &station{t: t, backend: netip.MustParseAddrPort(backend)}
	relay, err := forms[form](Settings{Admit: s.admit, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: 64}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		relay.Run(ctx)
		close(done)
	}()
	stop, err := relay.Accept(listener)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(addr)
	_, _ = os.Stdin.Read(make([]byte, 1))
	stop()
	cancel()
	<-done
}

func TestAWantOfDescriptorsIsSurvived(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		backend := serve(t, echo)
		process := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFewDescriptors$")
		process.Env = append(os.Environ(), fewDescriptors+"="+backend.String(), fewDescriptors+"_FORM="+form)
		input, err := process.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		output, err := process.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := process.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(output)
		lines.Scan()
		addr, err := netip.ParseAddrPort(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			flood(t, net.TCPAddrFromAddrPort(addr), form)
		}
		input.Close()
		for lines.Scan() { // to its end
		}
		if err := process.Wait(); err != nil {
			t.Errorf("the process ended by %v", err)
		}
	})
}

// flood opens far more connections than there are descriptors for, closes them, and wants the next served.
func flood(t *testing.T, addr *net.TCPAddr, form string) {
	t.Helper()
	var conns []*net.TCPConn
	for range 200 {
		if conn, err := net.DialTCP("tcp", nil, addr); err == nil { // it may be reset already
			conns = append(conns, conn)
		}
	}
	served, refused := 0, 0
	for _, conn := range conns {
		_ = conn.SetDeadline(time.Now().Add(20 * time.Millisecond))
		_, err := conn.Write([]byte("x"))
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		switch {
		case err == nil:
			served++
		case !os.IsTimeout(err):
			refused++
		}
	}
	if served < 5 {
		t.Errorf("%d were served", served)
	}
	if refused += 200 - len(conns); form == "fast" && refused < 100 {
		t.Errorf("%d of 200 were refused", refused)
	}
	for _, conn := range conns {
		conn.Close()
	}
	eventually(t, func() bool {
		conn, err := net.DialTCP("tcp", nil, addr)
		if err != nil {
			return false
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		if _, err = conn.Write([]byte("x")); err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		return err == nil
	}, "nobody is served any more")
}
