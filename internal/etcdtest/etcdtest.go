// Package etcdtest starts real etcd servers for tests: the one that images/etcd builds, on
// loopback, with its data in the test's temporary directory.
package etcdtest

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// startDeadline is how long a cluster may take until it has a leader.
const startDeadline = 30 * time.Second

// Cluster is a set of etcd members that know each other. The test's end kills it.
type Cluster struct {
	t       testing.TB
	members []*Member
	secure  *Authority // nil for none
}

// Start starts a cluster of new, empty members, and waits until each is healthy. The server is
// built if that was not done yet. It fails the test where that is not possible.
func Start(t testing.TB, members int) *Cluster {
	t.Helper()
	return start(t, members, nil)
}

// StartSecure is Start for members that speak TLS, and only with those whose certificate is from the
// authority.
func StartSecure(t testing.TB, members int) (*Cluster, *Authority) {
	t.Helper()
	secure := newAuthority(t)
	return start(t, members, secure), secure
}

func start(t testing.TB, members int, secure *Authority) *Cluster {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatalf("build etcd: %v", err)
	}
	// A port that was free may be taken before etcd listens on it: then another try.
	var failed error
	for try := range 3 {
		c := newCluster(t, binary, members, try, secure)
		if failed = c.start(); failed == nil {
			t.Cleanup(c.kill)
			return c
		}
		c.kill()
	}
	t.Fatalf("start etcd: %v", failed)
	return nil
}

func newCluster(t testing.TB, binary string, members, try int, secure *Authority) *Cluster {
	t.Helper()
	dir := filepath.Join(t.TempDir(), fmt.Sprintf("etcd-%d", try))
	c := &Cluster{t: t, secure: secure}
	var initial []string
	for i := range members {
		m := &Member{
			t: t, binary: binary, name: fmt.Sprintf("m%d", i), dir: filepath.Join(dir, fmt.Sprintf("m%d", i)),
			client: freeAddr(t), peer: freeAddr(t), secure: secure,
		}
		c.members = append(c.members, m)
		initial = append(initial, m.name+"="+m.peerURL())
	}
	for _, m := range c.members {
		m.initial = strings.Join(initial, ",")
	}
	return c
}

func (c *Cluster) start() error {
	for _, m := range c.members {
		if err := m.start(); err != nil {
			return err
		}
	}
	errs := make([]error, len(c.members))
	var wait sync.WaitGroup
	for i, m := range c.members {
		wait.Go(func() { errs[i] = m.waitHealthy(startDeadline) })
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) kill() {
	for _, m := range c.members {
		m.kill()
	}
}

// Endpoints are the client URLs of all members.
func (c *Cluster) Endpoints() []string {
	var urls []string
	for _, m := range c.members {
		urls = append(urls, m.URL())
	}
	return urls
}

// Member is the i-th member, from 0.
func (c *Cluster) Member(i int) *Member { return c.members[i] }

// Leader is the member that leads the cluster now. It fails the test if there is none.
func (c *Cluster) Leader() *Member {
	c.t.Helper()
	deadline := time.Now().Add(startDeadline)
	for time.Now().Before(deadline) {
		for _, m := range c.members {
			if m.leads() {
				return m
			}
		}
		time.Sleep(pollInterval)
	}
	c.t.Fatal("the etcd cluster has no leader")
	return nil
}
