package dokkaacfg

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lock keeps a second dokkaacfg from changing the cluster at the same time, until release is
// called. The kernel releases it when the process dies.
func (s *session) lock() (release func(), err error) {
	dir := s.stateDir
	if os.Geteuid() != 0 {
		dir = os.TempDir()
	}
	name := filepath.Join(dir, "dokkaa-"+s.cluster+".lock")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("lock cluster %s: %w", s.cluster, err)
	}
	for {
		file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			return nil, fmt.Errorf("lock cluster %s: %w", s.cluster, err)
		}
		if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			file.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, fmt.Errorf("another dokkaacfg is at work on cluster %s", s.cluster)
			}
			return nil, fmt.Errorf("lock cluster %s: %w", s.cluster, err)
		}
		if sameFile(file, name) {
			return func() {
				// Removed while it is held: whoever opened it meanwhile sees that and tries again.
				_ = os.Remove(name)
				file.Close()
			}, nil
		}
		file.Close()
	}
}

func sameFile(file *os.File, name string) bool {
	opened, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(name)
	return err == nil && os.SameFile(opened, there)
}
