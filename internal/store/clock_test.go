package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeEtcd answers in a synctest bubble what etcd would: one key, which is set, created, renewed
// and listed, and long polls. What it cannot do is in the contract tests.
type fakeEtcd struct {
	mu       sync.Mutex
	index    uint64
	value    string
	down     bool          // no connection
	deaf     bool          // long polls fail, the rest works
	delay    time.Duration // before each answer
	requests int
	lists    int
}

func (f *fakeEtcd) RoundTrip(req *http.Request) (*http.Response, error) {
	f.mu.Lock()
	f.requests++
	down, delay, poll := f.down, f.delay, req.URL.Query().Get("wait") == "true"
	if req.URL.Query().Get("recursive") == "true" && !poll {
		f.lists++
	}
	f.mu.Unlock()
	if err := pause(req.Context(), delay); err != nil {
		return nil, err
	}
	if down {
		return nil, errors.New("connection refused")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if poll {
		if f.deaf {
			return f.answer(req, http.StatusBadGateway, "no etcd"), nil
		}
		resp := f.answer(req, http.StatusOK, "")
		resp.Body = hanging{req.Context()}
		return resp, nil
	}
	if req.Method == http.MethodPut {
		return f.put(req), nil
	}
	return f.answer(req, http.StatusOK, f.node("get")), nil
}

func (f *fakeEtcd) put(req *http.Request) *http.Response {
	want := req.URL.Query().Get("prevValue")
	if req.URL.Query().Get("prevExist") == "false" && f.value != "" {
		return f.answer(req, http.StatusPreconditionFailed, `{"errorCode":105,"message":"Key already exists"}`)
	}
	if want != "" && want != f.value {
		return f.answer(req, http.StatusPreconditionFailed, `{"errorCode":101,"message":"Compare failed"}`)
	}
	if err := req.ParseForm(); err != nil {
		return f.answer(req, http.StatusBadRequest, err.Error())
	}
	f.index++
	f.value = req.PostForm.Get("value")
	return f.answer(req, http.StatusOK, f.node("set"))
}

func (f *fakeEtcd) node(action string) string {
	return fmt.Sprintf(`{"action":%q,"node":{"key":"/m/a","value":%q,"modifiedIndex":%d,"createdIndex":1}}`, action, f.value, f.index)
}

func (f *fakeEtcd) answer(req *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Request: req, Body: io.NopCloser(bytes.NewBufferString(body)),
		Header: http.Header{"X-Etcd-Index": {strconv.FormatUint(max(f.index, 1), 10)}},
	}
}

func (f *fakeEtcd) change(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// count returns how many requests, and lists among them, were made meanwhile.
func (f *fakeEtcd) count(during func()) (requests, lists int) {
	f.mu.Lock()
	requests, lists = f.requests, f.lists
	f.mu.Unlock()
	during()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests - requests, f.lists - lists
}

// hanging is a body that never comes.
type hanging struct{ ctx context.Context }

func (h hanging) Read([]byte) (int, error) { <-h.ctx.Done(); return 0, h.ctx.Err() }
func (hanging) Close() error               { return nil }

// openFake returns a store on fakes, one per endpoint.
func openFake(t testing.TB, f http.RoundTripper, endpoints ...string) *Store {
	t.Helper()
	s, err := New(Options{Endpoints: endpoints, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.transport = f
	return s
}

// inBubble runs test in a synctest bubble with a known mirror on a fake etcd.
func inBubble(t *testing.T, test func(t *testing.T, f *fakeEtcd, m *Mirror)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeEtcd{index: 10, value: "1"}
		m := openFake(t, f, "h:1").NewMirror("/m")
		ctx, cancel := context.WithCancel(context.Background())
		var wait sync.WaitGroup
		wait.Go(func() {
			if err := m.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		defer wait.Wait()
		defer cancel()
		synctest.Wait()
		if !m.Snapshot().Known {
			t.Fatal("the mirror is unknown")
		}
		test(t, f, m)
	})
}

func TestMirrorListsAgainThoughNothingHappens(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fakeEtcd, m *Mirror) {
		since := m.Snapshot().Since
		_, lists := f.count(func() { time.Sleep(time.Hour) })
		if lists < int(time.Hour/(2*listAge+pollTime)) || lists > int(time.Hour/listAge) {
			t.Errorf("%d lists in an hour", lists)
		}
		if got := m.Snapshot(); !got.Known || got.Since != since {
			t.Error("listing again made the mirror unknown")
		}
	})
}

func TestMirrorStaysKnownForAGraceOnly(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fakeEtcd, m *Mirror) {
		f.change(func() { f.down = true })
		time.Sleep(2 * pollTime)
		lost := m.Snapshot()
		if lost.Known || !errors.Is(lost.Err, ErrUnavailable) {
			t.Fatalf("without etcd: %+v", lost)
		}
		if passed := time.Since(lost.Since); passed < pollTime-grace-pollTime/2 || passed > 2*pollTime {
			t.Errorf("it has been unknown for %v", passed)
		}
		f.change(func() { f.down = false })
		time.Sleep(2 * time.Second)
		if got := m.Snapshot(); !got.Known || got.Err != nil {
			t.Errorf("2 s after etcd is back: %+v", got)
		}
	})
}

func TestShortInterruptionIsNoOutage(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fakeEtcd, m *Mirror) {
		since := m.Snapshot().Since
		for range 100 {
			time.Sleep(3*time.Second + 7*time.Millisecond)
			f.change(func() { f.down = true })
			time.Sleep(grace / 4)
			f.change(func() { f.down = false })
			if got := m.Snapshot(); !got.Known || got.Since != since {
				t.Fatal("the mirror became unknown")
			}
		}
	})
}

func TestOutageIsNoStorm(t *testing.T) {
	t.Parallel()
	for name, hurt := range map[string]func(*fakeEtcd){
		"nothing answers":       func(f *fakeEtcd) { f.down = true },
		"all but polls answers": func(f *fakeEtcd) { f.deaf = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, f *fakeEtcd, _ *Mirror) {
				f.change(func() { hurt(f) })
				requests, _ := f.count(func() { time.Sleep(time.Hour) })
				if perSecond := float64(requests) / 3600; perSecond < 0.3 || perSecond > 4 {
					t.Errorf("%.1f requests a second", perSecond)
				}
			})
		})
	}
}

func TestLeaseEndsByTheHoldersClock(t *testing.T) {
	t.Parallel()
	for _, exclusive := range []bool{true, false} {
		t.Run(fmt.Sprintf("exclusive %v", exclusive), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &fakeEtcd{delay: 300 * time.Millisecond}
				o := LeaseOptions{Key: "/m/a", Value: unique, TTL: 4 * time.Second, Renew: time.Second, Exclusive: exclusive}
				h := startHolder(t, openFake(t, f, "h:1", "h:2"), o)
				held := h.waitHeld(t, time.Minute)
				// The lease counts from before the answer came.
				if got := time.Since(h.lease.Renewed()); got != f.delay {
					t.Errorf("acquired as of %v before", got)
				}
				time.Sleep(time.Hour)
				if held.Err() != nil {
					t.Fatal("lost without a reason")
				}
				f.change(func() { f.delay = time.Hour })
				<-held.Done()
				if got := time.Since(h.lease.Renewed()); got != o.TTL-o.TTL/10 {
					t.Errorf("the holder acted for %v since the last renewal began", got)
				}
				f.change(func() { f.delay, f.value = 0, "" })
				h.waitHeld(t, 10*time.Second)
				h.stop()
			})
		})
	}
}

func TestLeaseOfOtherTimesEndsByTheHoldersClock(t *testing.T) {
	t.Parallel()
	const was = 4 * time.Second
	for name, test := range map[string]struct{ ttl, acts time.Duration }{
		// What etcd has is the longer life or the shorter one, as the answer is lost.
		"longer":  {time.Minute, was - was/10},
		"shorter": {2 * time.Second, 1800 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &fakeEtcd{}
				h := startHolder(t, openFake(t, f, "h:1"), LeaseOptions{Key: "/m/a", Value: unique, TTL: was, Renew: time.Second})
				held := h.waitHeld(t, time.Minute)
				f.change(func() { f.delay = time.Hour })
				changed := time.Now()
				h.lease.SetTimes(test.ttl, 500*time.Millisecond)
				<-held.Done()
				if got := time.Since(changed); got != test.acts {
					t.Errorf("the holder acted for %v", got)
				}
				f.change(func() { f.delay = 0 })
				held = h.waitHeld(t, 10*time.Second)
				synctest.Wait()
				f.change(func() { f.delay = time.Hour })
				<-held.Done()
				if got := time.Since(h.lease.Renewed()); got != test.ttl-test.ttl/10 {
					t.Errorf("with the new times the holder acted for %v since the last renewal began", got)
				}
				h.stop()
			})
		})
	}
}

func TestRenewalMovesOnFromASlowEndpoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeEtcd{}
		slow := ""
		var mu sync.Mutex
		s := openFake(t, roundTripper(func(req *http.Request) (*http.Response, error) {
			mu.Lock()
			hang := req.URL.Host == slow
			mu.Unlock()
			if hang {
				<-req.Context().Done()
				return nil, req.Context().Err()
			}
			return f.RoundTrip(req)
		}), "h:1", "h:2", "h:3")
		h := startHolder(t, s, exclusive("/m/a"))
		h.waitHeld(t, time.Second)
		for range 10 {
			mu.Lock()
			slow = s.endpoints[s.preferred.Load()].url[len("http://"):]
			mu.Unlock()
			time.Sleep(3 * time.Second)
			// It cost one deadline once; the next renewals go to the endpoint that answered.
			if late := time.Since(h.lease.Renewed()); late > time.Second {
				t.Errorf("last renewed %v ago", late)
			}
		}
		if h.losses.Load() > 0 {
			t.Error("the lease was lost")
		}
		h.stop()
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
