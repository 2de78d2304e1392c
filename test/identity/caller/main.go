//go:build linux

// Caller is what runs in the containers of the tests of identity: it connects to the ambassador again and
// again, and compares what the backend says with what it should say. It tells by its exit code what
// it saw.
//
//	caller <ambassador> <want> <connections>
//	caller <ambassador> spoof <address>
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// Exit codes, beside 0 for all well until the last connection or SIGTERM.
const (
	usage       = 2
	wrong       = 3 // a backend that is not its own
	firstFailed = 4 // the very first connection
	laterFailed = 5
)

const pause = 20 * time.Millisecond

func main() {
	// Nothing comes before the first connection: it is as early as a container can be.
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "caller:", err)
	}
	os.Exit(code)
}

func run(args []string) (code int, err error) {
	if len(args) != 3 {
		return usage, fmt.Errorf("want 3 arguments, got %q", args)
	}
	if args[1] == "spoof" {
		return spoof(netip.MustParseAddrPort(args[0]), netip.MustParseAddr(args[2]))
	}
	count, err := strconv.Atoi(args[2])
	if err != nil {
		return usage, err
	}
	failed := firstFailed
	var stop context.Context
	for i := range count {
		got, err := ask(args[0])
		switch {
		case err != nil:
			return failed, fmt.Errorf("connection %d: %w", i, err)
		case got != args[1]:
			return wrong, fmt.Errorf("connection %d: got %q, want %q", i, got, args[1])
		}
		if stop == nil {
			failed = laterFailed
			stop, _ = signal.NotifyContext(context.Background(), syscall.SIGTERM)
		}
		select {
		case <-stop.Done():
			return 0, nil
		case <-time.After(pause):
		}
	}
	return 0, nil
}

func ask(ambassador string) (string, error) {
	conn, err := net.DialTimeout("tcp", ambassador, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	text, err := io.ReadAll(conn)
	return string(text), err
}
