package dokkaacfg

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
	"github.com/dokkaa/dokkaa/internal/store"
)

// testCluster is a cluster of nothing but a real etcd: what the conductors would write, the test
// does.
type testCluster struct {
	t    *testing.T
	keys *store.Store
	etcd *etcdtest.Cluster
	dir  string
	// gateway is that of every host, "" for etcd itself.
	gateway string
	// existing are the hosts, nil for two that do not exist.
	existing []Host
}

// provider knows two hosts.
func (c *testCluster) provider() *fakeProvider {
	if c.existing != nil {
		return &fakeProvider{keep: c.dir, existing: c.existing}
	}
	return &fakeProvider{keep: c.dir, existing: []Host{fakeHost(addrs("10.101.0.1")[0]), fakeHost(addrs("10.101.0.2")[0])}}
}

func (c *testCluster) gatewayURL(netip.Addr) string { return cmp.Or(c.gateway, c.etcd.Endpoints()[0]) }

func newTestCluster(t *testing.T) *testCluster {
	t.Helper()
	etcd := etcdtest.Start(t, 1)
	keys, err := store.New(store.Options{Endpoints: etcd.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	return &testCluster{t: t, keys: keys, etcd: etcd, dir: filepath.Join(t.TempDir(), "cluster")}
}

// put writes keys and their values.
func (c *testCluster) put(pairs ...string) {
	c.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if _, err := c.keys.Set(c.t.Context(), pairs[i], pairs[i+1], 0); err != nil {
			c.t.Fatal(err)
		}
	}
}

// lease gives a host its lease.
func (c *testCluster) lease(ip, value string) {
	c.t.Helper()
	if _, err := c.keys.Set(c.t.Context(), "/hosts/"+ip+"/lease", value, time.Minute); err != nil {
		c.t.Fatal(err)
	}
}

func (c *testCluster) delete(keys ...string) {
	c.t.Helper()
	for _, key := range keys {
		if err := c.keys.DeleteDir(c.t.Context(), key); err != nil {
			c.t.Fatal(err)
		}
	}
}

// value is that of a key, "(none)" if there is none.
func (c *testCluster) value(key string) string {
	c.t.Helper()
	node, err := c.keys.Get(c.t.Context(), key)
	if errors.Is(err, store.ErrNotFound) {
		return "(none)"
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return node.Value
}

// below are the keys in a directory.
func (c *testCluster) below(dir string) (keys []string) {
	c.t.Helper()
	list, err := c.keys.List(c.t.Context(), dir)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, node := range list.Nodes {
		keys = append(keys, strings.TrimPrefix(node.Key, dir+"/"))
	}
	return keys
}

// eventually waits until a key has a value.
func (c *testCluster) eventually(key, want string) {
	c.t.Helper()
	err := poll(c.t.Context(), 10*time.Second, func(ctx context.Context) error {
		node, err := c.keys.Get(ctx, key)
		if err == nil && node.Value != want {
			err = errors.New("it is " + node.Value)
		}
		return err
	})
	if err != nil {
		c.t.Fatalf("%s does not become %q: %v", key, want, err)
	}
}

// run runs a command against the cluster, with what a user types and pipes in. Its hosts are two,
// as far as the provider knows.
func (c *testCluster) run(input string, args ...string) (out string, err error) {
	c.t.Helper()
	s, written := newSession(c.t, c.provider(), input)
	s.doors.elsewhere = c.gatewayURL
	p := newInvocation(s.in, written, written)
	p.open = func(p *invocation) (*session, error) {
		s.out = p.out
		return s, nil
	}
	err = p.execute(c.t.Context(), args)
	return written.String(), err
}

// mustRun runs a command that has to work.
func (c *testCluster) mustRun(args ...string) string {
	c.t.Helper()
	out, err := c.run("", args...)
	if err != nil {
		c.t.Fatalf("dokkaacfg %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// fails runs a command that must fail with something that says what it should.
func (c *testCluster) fails(says string, args ...string) string {
	c.t.Helper()
	out, err := c.run("", args...)
	if err == nil || !strings.Contains(err.Error(), says) {
		c.t.Errorf("dokkaacfg %s says %v, want %q in it\n%s", strings.Join(args, " "), err, says, out)
	}
	return out
}
