// Package vhosttest keeps tests that make virtual hosts apart.
package vhosttest

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Claim has the cluster's name for the test alone until it ends, on the whole machine: links,
// namespaces and control groups are called after it, and who makes a cluster first removes what an
// earlier run left. A run from another working directory that has the name is waited for. What the
// test registers for its end after this call still has the name.
func Claim(t testing.TB, name string) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(os.TempDir(), "dokkaa-test-"+name+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() }) // which unlocks it; so does the end of the process
	for waits := false; ; waits = true {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || t.Context().Err() != nil {
			t.Fatalf("claim cluster %s: %v", name, err)
		}
		if !waits {
			t.Logf("another run of the tests has cluster %s: it is waited for", name)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
