package etcdtest

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// build returns the path of the etcd server, build/bin/etcd, which it builds if it is missing or
// older than its sources. Test binaries that run side by side take turns.
var build = sync.OnceValues(func() (string, error) {
	root, err := repository()
	if err != nil {
		return "", err
	}
	source, binary := filepath.Join(root, "images", "etcd"), filepath.Join(root, "build", "bin", "etcd")
	if err := os.MkdirAll(filepath.Dir(binary), 0o755); err != nil {
		return "", err
	}
	lock, err := os.Create(filepath.Join(root, "build", "etcd.lock"))
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if fresh, err := newer(binary, source); fresh || err != nil {
		return binary, err
	}
	// A name of its own first: a server that runs from the old file keeps it.
	next := binary + ".next"
	cmd := exec.Command("go", "build", "-trimpath", "-o", next, ".")
	cmd.Dir, cmd.Env = source, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return binary, os.Rename(next, binary)
})

// repository is the directory of the repository that the test runs in.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "images", "etcd", "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("images/etcd is in no directory above the test's")
		}
	}
}

// newer tells whether the file exists and is newer than every file in dir.
func newer(file, dir string) (bool, error) {
	built, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	sources, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, source := range sources {
		info, err := source.Info()
		if err != nil {
			return false, err
		}
		if !source.IsDir() && info.ModTime().After(built.ModTime()) {
			return false, nil
		}
	}
	return true, nil
}

// freeAddr returns a loopback address that nobody listens on. It stays below the ports that
// the kernel gives to outgoing connections, so that it is still free when a member that was
// killed comes back to it.
func freeAddr(t testing.TB) string {
	t.Helper()
	var last error
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(15000+rand.IntN(15000)))
		listener, err := net.Listen("tcp", addr)
		if err == nil {
			if last = listener.Close(); last == nil {
				return addr
			}
		}
		last = errors.Join(last, err)
	}
	t.Fatalf("find a free port: %v", last)
	return ""
}

// WaitFor polls until done returns nil, and fails the test with its last error if that takes
// longer than the deadline.
func WaitFor(t testing.TB, deadline time.Duration, done func() error) {
	t.Helper()
	end := time.Now().Add(deadline)
	for {
		err := done()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %v: %v", deadline, err)
		}
		time.Sleep(pollInterval)
	}
}
