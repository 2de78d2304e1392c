package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
)

// nonce makes values that no holder had before.
var nonce atomic.Int64

func unique() string { return strconv.FormatInt(nonce.Add(1), 10) }

// holder runs a lease and records when it is held.
type holder struct {
	lease  *Lease
	got    chan context.Context // a context per acquisition
	losses atomic.Int32
	cancel context.CancelFunc
	wait   sync.WaitGroup
}

func startHolder(t *testing.T, s *Store, o LeaseOptions) *holder {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	h := &holder{lease: s.NewLease(o), got: make(chan context.Context, 100), cancel: cancel}
	h.wait.Go(func() {
		err := h.lease.Run(ctx, func(ctx context.Context) error {
			h.got <- ctx
			<-ctx.Done()
			if errors.Is(context.Cause(ctx), ErrLeaseLost) {
				h.losses.Add(1)
			}
			return nil
		})
		if err != nil {
			t.Errorf("lease: %v", err)
		}
	})
	t.Cleanup(h.stop)
	return h
}

// stop ends the holder in an orderly way.
func (h *holder) stop() {
	h.cancel()
	h.wait.Wait()
}

func (h *holder) waitHeld(t *testing.T, deadline time.Duration) context.Context {
	t.Helper()
	select {
	case ctx := <-h.got:
		return ctx
	case <-time.After(deadline):
		t.Fatalf("the lease was not acquired in %v", deadline)
		return nil
	}
}

func exclusive(key string) LeaseOptions {
	return LeaseOptions{Key: key, Value: unique, TTL: 4 * time.Second, Renew: time.Second, Exclusive: true}
}

func shared(key string) LeaseOptions {
	return LeaseOptions{Key: key, Value: unique, TTL: 8 * time.Second, Renew: 2 * time.Second}
}

func TestLeaseIsRenewed(t *testing.T) {
	t.Parallel()
	s := open(t, etcdtest.Start(t, 1).Endpoints())
	o := shared("/hosts/a/lease")
	o.TTL, o.Renew = 2*time.Second, 200*time.Millisecond
	h := startHolder(t, s, o)
	h.waitHeld(t, 5*time.Second)
	first, err := s.Get(t.Context(), o.Key)
	if err != nil {
		t.Fatal(err)
	}
	renewed := h.lease.Renewed()
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, err := s.Get(t.Context(), o.Key); err != nil {
			t.Fatal(err)
		}
	}
	last, err := s.Get(t.Context(), o.Key)
	if err != nil || last.Value == first.Value || !h.lease.Renewed().After(renewed.Add(2*time.Second)) {
		t.Errorf("after 3 s: %+v (at first %+v), %v", last, first, err)
	}
	h.stop()
	if _, err := s.Get(t.Context(), o.Key); err != nil {
		t.Errorf("after an orderly end the key of a lease that is not exclusive: %v", err)
	}
	if h.losses.Load() != 0 {
		t.Error("the lease was lost")
	}
}

func TestExclusiveLeaseIsHandedOver(t *testing.T) {
	t.Parallel()
	endpoints := etcdtest.Start(t, 1).Endpoints()
	o := exclusive("/dokkaa/scheduler")
	a := startHolder(t, open(t, endpoints), o)
	held := a.waitHeld(t, 5*time.Second)
	b := startHolder(t, open(t, endpoints), o)
	select {
	case <-b.got:
		t.Fatal("two hold the lease")
	case <-time.After(2 * o.Renew):
	}
	if held.Err() != nil {
		t.Fatal("the first holder lost the lease")
	}
	released := time.Now()
	a.stop()
	b.waitHeld(t, 5*time.Second)
	if took := time.Since(released); took > o.TTL/2 {
		t.Errorf("took %v after the release", took)
	}
}

func TestExclusiveLeaseOfADeadHolder(t *testing.T) {
	t.Parallel()
	s := open(t, etcdtest.Start(t, 1).Endpoints())
	o := exclusive("/dokkaa/scheduler")
	started := time.Now()
	if _, err := s.Create(t.Context(), o.Key, "of one that died", o.TTL); err != nil {
		t.Fatal(err)
	}
	h := startHolder(t, s, o)
	h.waitHeld(t, 3*o.TTL)
	if took := time.Since(started); took < o.TTL-500*time.Millisecond || took > o.TTL+2*time.Second {
		t.Errorf("acquired %v after the dead holder's last renewal, whose time to live was %v", took, o.TTL)
	}
}

func TestExclusiveLeaseThatWasTakenAway(t *testing.T) {
	t.Parallel()
	s := open(t, etcdtest.Start(t, 1).Endpoints())
	o := exclusive("/dokkaa/scheduler")
	h := startHolder(t, s, o)
	held := h.waitHeld(t, 5*time.Second)
	if _, err := s.Set(t.Context(), o.Key, "a thief", 2*time.Second); err != nil {
		t.Fatal(err)
	}
	select {
	case <-held.Done():
	case <-time.After(3 * o.Renew):
		t.Fatal("the holder did not notice")
	}
	if cause := context.Cause(held); !errors.Is(cause, ErrLeaseLost) {
		t.Errorf("it ended because of %v", cause)
	}
	if n, err := s.Get(t.Context(), o.Key); err != nil || n.Value != "a thief" {
		t.Errorf("the loser took the key back, or deleted it: %+v, %v", n, err)
	}
	h.waitHeld(t, 10*time.Second)
}

func TestLeaseEndsForItsHolderBeforeItEndsInEtcd(t *testing.T) {
	t.Parallel()
	for name, hurt := range map[string]func(*etcdtest.Member){"killed": (*etcdtest.Member).Kill, "suspended": (*etcdtest.Member).Stop} {
		for _, o := range []LeaseOptions{exclusive("/x"), shared("/x")} {
			t.Run(fmt.Sprintf("%s, exclusive %v", name, o.Exclusive), func(t *testing.T) {
				t.Parallel()
				etcd := etcdtest.Start(t, 1)
				h := startHolder(t, open(t, etcd.Endpoints()), o)
				held := h.waitHeld(t, 5*time.Second)
				hurt(etcd.Member(0))
				select {
				case <-held.Done():
				case <-time.After(2 * o.TTL):
					t.Fatal("the holder did not notice")
				}
				if passed := time.Since(h.lease.Renewed()); passed >= o.TTL {
					t.Errorf("held for %v since the last renewal", passed)
				}
				etcd.Member(0).Restart()
				h.waitHeld(t, 15*time.Second)
			})
		}
	}
}

func TestNoLeaseIsLostWithOneMemberOfThree(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		hurt   func(*etcdtest.Member)
		leader bool
	}{
		"leader killed":      {(*etcdtest.Member).Kill, true},
		"leader suspended":   {(*etcdtest.Member).Stop, true},
		"follower suspended": {(*etcdtest.Member).Stop, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			etcd := etcdtest.Start(t, 3)
			leader := etcd.Leader()
			hurt := leader
			if !tt.leader {
				hurt = etcd.Member((slices.Index(etcd.Endpoints(), leader.URL()) + 1) % 3)
			}
			// Everybody asks the member first that is going to fail.
			endpoints := append([]string{hurt.URL()}, slices.DeleteFunc(etcd.Endpoints(), func(u string) bool { return u == hurt.URL() })...)
			var holders []*holder
			for i := range 4 {
				holders = append(holders,
					startHolder(t, open(t, endpoints), exclusive("/exclusive/"+strconv.Itoa(i))),
					startHolder(t, open(t, endpoints), shared("/shared/"+strconv.Itoa(i))))
			}
			for _, h := range holders {
				h.waitHeld(t, 5*time.Second)
			}
			tt.hurt(hurt)
			hurtAt := time.Now()
			etcdtest.WaitFor(t, 15*time.Second, func() error {
				for _, h := range holders {
					if h.lease.Renewed().Before(hurtAt.Add(6 * time.Second)) {
						return fmt.Errorf("%s was last renewed %v after the fault", h.lease.options.Key, h.lease.Renewed().Sub(hurtAt))
					}
				}
				return nil
			})
			for _, h := range holders {
				if n := h.losses.Load(); n > 0 {
					t.Errorf("%s was lost", h.lease.options.Key)
				}
			}
		})
	}
}

func TestWorkThatEndsItselfEndsTheLease(t *testing.T) {
	t.Parallel()
	s := open(t, etcdtest.Start(t, 1).Endpoints())
	l := s.NewLease(exclusive("/x"))
	failure := errors.New("failure")
	err := l.Run(t.Context(), func(context.Context) error { return failure })
	wantErr(t, "run", err, failure)
	_, err = s.Get(t.Context(), "/x")
	wantErr(t, "the key", err, ErrNotFound)
}

func TestTouchedLeaseIsRenewedAtOnce(t *testing.T) {
	t.Parallel()
	s := open(t, etcdtest.Start(t, 1).Endpoints())
	var value atomic.Pointer[string]
	first, second := "first", "second"
	value.Store(&first)
	h := startHolder(t, s, LeaseOptions{Key: "/touched", Value: func() string { return *value.Load() }, TTL: time.Minute, Renew: 30 * time.Second})
	h.waitHeld(t, 10*time.Second)
	value.Store(&second)
	h.lease.Touch()
	etcdtest.WaitFor(t, 10*time.Second, func() error {
		n, err := s.Get(t.Context(), "/touched")
		if err == nil && n.Value != second {
			err = fmt.Errorf("holds %q", n.Value)
		}
		return err
	})
}

func TestLeaseOfOtherTimes(t *testing.T) {
	t.Parallel()
	s := open(t, etcdtest.Start(t, 1).Endpoints())
	h := startHolder(t, s, shared("/x"))
	h.waitHeld(t, 5*time.Second)
	wantTTL := func(ttl time.Duration) {
		t.Helper()
		etcdtest.WaitFor(t, 5*time.Second, func() error {
			n, err := s.Get(t.Context(), "/x")
			if err == nil && (n.TTL > ttl || n.TTL < ttl-time.Second) {
				err = fmt.Errorf("it has %v to live", n.TTL)
			}
			return err
		})
	}
	h.lease.SetTimes(time.Minute, time.Second)
	wantTTL(time.Minute)
	h.lease.SetTimes(2*time.Second, 300*time.Millisecond)
	wantTTL(2 * time.Second)
	time.Sleep(3 * time.Second)
	if age := time.Since(h.lease.Renewed()); age > time.Second || h.losses.Load() > 0 {
		t.Errorf("renewed %v ago, lost %d times", age, h.losses.Load())
	}
}
