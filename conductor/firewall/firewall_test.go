//go:build linux

package firewall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// fakeHosts is a mirror of /hosts.
type fakeHosts struct {
	current atomic.Pointer[store.Snapshot]
	hint    chan struct{}
}

func newFakeHosts() *fakeHosts {
	f := &fakeHosts{hint: make(chan struct{}, 1)}
	f.current.Store(&store.Snapshot{}) // of a mirror that never listed
	return f
}

func (f *fakeHosts) Snapshot() store.Snapshot { return *f.current.Load() }
func (f *fakeHosts) Hint() <-chan struct{}    { return f.hint }

// set makes the cluster's hosts what is given.
func (f *fakeHosts) set(hosts ...string) {
	nodes := []store.Node{{Key: "/hosts/none/lease"}, {Key: "/hosts/fd00::1/lease"}}
	for _, ip := range hosts {
		nodes = append(nodes, store.Node{Key: state.HostLeaseKey(ip)}, store.Node{Key: state.HostInfoKey(ip)})
	}
	snapshot := store.NewSnapshot(1, nodes...)
	f.show(snapshot)
}

// unknow makes the store unknown, and what was in it seem gone.
func (f *fakeHosts) unknow() { f.show(store.Snapshot{Listed: true, Err: store.ErrUnavailable}) }

func (f *fakeHosts) show(s store.Snapshot) {
	f.current.Store(&s)
	select {
	case f.hint <- struct{}{}:
	default:
	}
}

// start runs a firewall there, until end is called.
func start(n *namespace, hosts Hosts) (f *Firewall, end func()) {
	ctx, cancel := context.WithCancel(n.t.Context())
	f = New(testRules(), hosts, slog.New(slog.NewTextHandler(n.t.Output(), nil)))
	done := make(chan error, 1)
	go func() { done <- n.in(func() error { return f.Run(ctx) }) }()
	return f, func() {
		n.t.Helper()
		cancel()
		if err := <-done; err != nil {
			n.t.Errorf("Run ended with %v", err)
		}
	}
}

// waitHosts waits until the table holds the hosts.
func waitHosts(n *namespace, want ...string) {
	n.t.Helper()
	etcdtest.WaitFor(n.t, 5*time.Second, func() error {
		var got []netip.Addr
		err := n.in(func() (err error) {
			got, err = hostsInPlace()
			return err
		})
		if err == nil && !slices.Equal(got, testRules(want...).Hosts) {
			err = fmt.Errorf("the table has the hosts %v, want %v", got, want)
		}
		return err
	})
}

// waitTaken waits until the firewall took the hint.
func waitTaken(t *testing.T, hosts *fakeHosts) {
	t.Helper()
	etcdtest.WaitFor(t, 5*time.Second, func() error {
		if len(hosts.hint) > 0 {
			return errors.New("the hint was not taken")
		}
		return nil
	})
	time.Sleep(50 * time.Millisecond) // what it does then takes a few
}

func waitReady(t *testing.T, f *Firewall) {
	t.Helper()
	etcdtest.WaitFor(t, 5*time.Second, f.Ready)
}

func TestTableFollowsTheHosts(t *testing.T) {
	n, hosts := newNamespace(t), newFakeHosts()
	f, end := start(n, hosts)
	hosts.set("10.0.0.2", "10.0.0.1")
	waitHosts(n, "10.0.0.1", "10.0.0.2")
	waitReady(t, f)
	hosts.set("10.0.0.1", "10.0.0.3")
	waitHosts(n, "10.0.0.1", "10.0.0.3")
	end()
	waitHosts(n, "10.0.0.1", "10.0.0.3") // containers outlive us
}

func TestNotReadyBeforeTheHostsAreKnown(t *testing.T) {
	n, hosts := newNamespace(t), newFakeHosts()
	f, end := start(n, hosts)
	defer end()
	etcdtest.WaitFor(t, 5*time.Second, func() error {
		if got := n.nft("list", "tables"); len(got) != 1 { // against this host's own ports
			return fmt.Errorf("tables %q", got)
		}
		return nil
	})
	if f.Ready() == nil {
		t.Error("ready, but containers reach the other hosts")
	}
	hosts.set() // the first host of a cluster, before it entered itself
	waitTaken(t, hosts)
	if f.Ready() == nil {
		t.Error("ready, with an etcd that knows no hosts")
	}
	hosts.set("10.0.0.1")
	waitReady(t, f)
}

func TestHostsStayWhileTheStoreIsUnknown(t *testing.T) {
	n, hosts := newNamespace(t), newFakeHosts()
	_, end := start(n, hosts)
	hosts.set("10.0.0.1", "10.0.0.2")
	waitHosts(n, "10.0.0.1", "10.0.0.2")
	hosts.unknow()
	end()
	waitHosts(n, "10.0.0.1", "10.0.0.2")

	// The next process finds the table of the one before, and no etcd.
	unknown := newFakeHosts()
	f, endNext := start(n, unknown)
	defer endNext()
	waitReady(t, f)
	waitHosts(n, "10.0.0.1", "10.0.0.2")
	unknown.set() // an etcd that was wiped
	waitTaken(t, unknown)
	waitHosts(n, "10.0.0.1", "10.0.0.2")
	unknown.set("10.0.0.2")
	waitHosts(n, "10.0.0.2")
}

func TestFlushedTableIsWrittenWhenTheHostsChange(t *testing.T) {
	n, hosts := newNamespace(t), newFakeHosts()
	_, end := start(n, hosts)
	defer end()
	hosts.set("10.0.0.1")
	waitHosts(n, "10.0.0.1")
	n.nft("flush", "ruleset")
	hosts.set("10.0.0.1", "10.0.0.2")
	waitHosts(n, "10.0.0.1", "10.0.0.2")
}
