//go:build linux

package vhost

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// namespaceDir is where ip(8) keeps named network namespaces.
const namespaceDir = "/run/netns"

// ensureNamespace makes a named network namespace. What a crash of ip left, a file without the
// namespace mounted on it, is made anew.
func ensureNamespace(ctx context.Context, name string) error {
	file := filepath.Join(namespaceDir, name)
	var stat unix.Statfs_t
	switch err := unix.Statfs(file, &stat); {
	case err == nil && stat.Type == unix.NSFS_MAGIC:
		return nil
	case err == nil:
		if err := os.Remove(file); err != nil {
			return fmt.Errorf("remove broken network namespace %s: %w", name, err)
		}
	}
	return ip(ctx, "netns", "add", name)
}

// inNamespace runs f with its operating system thread in the named network namespace: sockets
// that f itself makes belong to it for good.
func inNamespace(name string, f func() error) error {
	return inNamespaceOf(filepath.Join(namespaceDir, name), f)
}

// inNamespaceOf is inNamespace for one that a file stands for.
func inNamespaceOf(name string, f func() error) error {
	result := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, nobody else gets it.
		runtime.LockOSThread()
		result <- func() error {
			file, err := os.Open(name)
			if err != nil {
				return fmt.Errorf("enter network namespace: %w", err)
			}
			defer file.Close()
			if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter network namespace %s: %w", name, err)
			}
			return f()
		}()
	}()
	return <-result
}

// dialIn connects from the namespace. The address must be numeric: a look-up would be made by
// another thread, outside.
func dialIn(ctx context.Context, namespace, network, addr string) (conn net.Conn, err error) {
	if err := requireNumeric(addr); err != nil {
		return nil, err
	}
	err = inNamespace(namespace, func() error {
		conn, err = new(net.Dialer).DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}

// listenIn listens in the namespace on a numeric address.
func listenIn(ctx context.Context, namespace, network, addr string) (l net.Listener, err error) {
	if err := requireNumeric(addr); err != nil {
		return nil, err
	}
	err = inNamespace(namespace, func() error {
		l, err = new(net.ListenConfig).Listen(ctx, network, addr)
		return err
	})
	return l, err
}

func requireNumeric(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err == nil && host != "" && net.ParseIP(host) == nil {
		return fmt.Errorf("address %s: only a numeric host can be used in a network namespace", addr)
	}
	return err
}
