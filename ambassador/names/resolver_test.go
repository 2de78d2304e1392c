package names

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lookup wants so many endpoints.
func lookup(t *testing.T, r *Resolver, want int) {
	t.Helper()
	if pool, err := r.Lookup(t.Context(), web); err != nil || pool.Len() != want {
		t.Fatalf("lookup: %v, %v; want %d endpoints", pool, err, want)
	}
}

// use has the name used a thousand times a second, for so long, and wants it to be fresh each time, with so many endpoints.
func use(t *testing.T, r *Resolver, during time.Duration, want int) {
	t.Helper()
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if pool, ok := r.Fresh(web); !ok || pool.Len() != want {
			t.Fatalf("%v before the end: %v, %v; want %d endpoints", time.Until(end), pool, ok, want)
		}
	}
}

func TestANameInUseIsAlwaysFresh(t *testing.T) {
	for _, takes := range []time.Duration{0, 3 * time.Millisecond, hurriedTimeout - time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeServer{answer: answer{hosts(1, 2), 5 * time.Second}, takes: takes}
			r := f.run(t, Settings{})
			lookup(t, r, 2)
			f.count()
			use(t, r, time.Minute, 2)
			if n := f.count(); n > 121 || f.most > 1 {
				t.Errorf("asked %d times in a minute, %d at a time", n, f.most)
			}
		})
	}
}

func TestOneLostPacketIsNotNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{answer: answer{hosts(1), 5 * time.Second}}
		r := f.run(t, Settings{MaxStale: time.Hour})
		lookup(t, r, 1)
		f.change(func() { f.takes = time.Hour })
		use(t, r, maxTTL/2+hurriedTimeout/2, 1)
		f.change(func() { f.takes, f.answer = 0, answer{hosts(1, 2), 5 * time.Second} })
		time.Sleep(hurriedTimeout)
		use(t, r, maxTTL, 2)
		if f.failed != 1 {
			t.Errorf("%d failed", f.failed)
		}
	})
}

func TestAnAnswerServesWhileTheNextIsHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{answer: answer{hosts(1), 5 * time.Second}}
		r := f.run(t, Settings{MaxStale: time.Hour})
		lookup(t, r, 1)
		f.change(func() { f.takes, f.late = undecided-time.Millisecond, true })
		use(t, r, time.Minute, 1)
	})
}

func TestWhatIsWithdrawnIsGoneWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{answer: answer{hosts(1, 2), 5 * time.Second}, takes: 50 * time.Millisecond}
		r := f.run(t, Settings{MaxStale: time.Hour})
		lookup(t, r, 2)
		use(t, r, 10*time.Second, 2)
		f.change(func() { f.answer.endpoints = hosts(2) })
		time.Sleep(time.Second)
		use(t, r, 10*time.Second, 1)
		f.change(func() { f.answer.endpoints = nil })
		time.Sleep(time.Second)
		use(t, r, 10*time.Second, 0)
	})
}

func TestShortTTLsAreHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{answer: answer{hosts(1), 0}}
		r := f.run(t, Settings{})
		for range 50 {
			lookup(t, r, 1)
			time.Sleep(10 * time.Millisecond)
		}
		if n := f.count(); n != 5 {
			t.Errorf("asked %d times in half a second", n)
		}
		time.Sleep(time.Minute)
		if n := f.count(); n != 0 {
			t.Errorf("asked %d times though nobody wanted to know", n)
		}
	})
}

func TestANameThatNobodyUsesIsNotAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{answer: answer{hosts(1), 5 * time.Second}}
		r := f.run(t, Settings{MaxStale: time.Minute})
		lookup(t, r, 1)
		time.Sleep(idleAfter + time.Second)
		f.count()
		time.Sleep(time.Minute)
		if n := f.count(); n != 0 {
			t.Errorf("asked %d times", n)
		}
		if _, ok := r.Fresh(web); ok {
			t.Error("it is fresh")
		}
		lookup(t, r, 1)
		use(t, r, time.Minute, 1)
		time.Sleep(2 * forgetAfter)
		if known := r.Known(); len(known) != 0 {
			t.Errorf("still knows %v", known)
		}
		lookup(t, r, 1)
	})
}

func TestManyShareOneQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{answer: answer{hosts(1), 5 * time.Second}, takes: 20 * time.Millisecond}
		r := f.run(t, Settings{})
		var group sync.WaitGroup
		for i := range 1000 {
			group.Go(func() {
				time.Sleep(time.Duration(i%20) * time.Millisecond)
				lookup(t, r, 1)
			})
		}
		group.Wait()
		if n := f.count(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		began := time.Now()
		for range 10 { // whom the answer is of no use
			for range 100 {
				group.Go(func() {
					if _, err := r.Refresh(t.Context(), web); err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
		}
		if n, took := f.count(), time.Since(began); n != 10 || took < 9*pace || took > 12*pace || f.most != 1 {
			t.Errorf("asked %d times in %v, %d at a time", n, took, f.most)
		}
	})
}

func TestARefreshIsNotContentWithAnOlderQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{answer: answer{nil, 5 * time.Second}, takes: 100 * time.Millisecond}
		r := f.run(t, Settings{})
		go r.Lookup(t.Context(), web)
		time.Sleep(10 * time.Millisecond)
		f.change(func() { f.answer.endpoints = hosts(1) }) // for the next question
		if pool, err := r.Refresh(t.Context(), web); err != nil || pool.Len() != 1 {
			t.Errorf("got %v, %v", pool, err)
		}
	})
}

func TestTheLastAnswerServesWhileTheServerIsAway(t *testing.T) {
	for name, break_ := range map[string]func(f *fakeServer){
		"failing": func(f *fakeServer) { f.err = errAway },
		"silent":  func(f *fakeServer) { f.takes = time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeServer{answer: answer{hosts(1), 5 * time.Second}}
				r := f.run(t, Settings{MaxStale: 10 * time.Minute})
				lookup(t, r, 1)
				f.change(func() { break_(f) })
				use(t, r, 10*time.Minute-time.Second, 1)
				if n := f.count(); n > 4*600+2 {
					t.Errorf("asked %d times in ten minutes", n)
				}
				time.Sleep(2 * time.Second)
				if _, ok := r.Fresh(web); ok {
					t.Error("it serves for too long")
				}
				began := time.Now()
				if _, err := r.Lookup(t.Context(), web); err == nil {
					t.Error("it serves for too long who waits")
				} else if took := time.Since(began); took > attempts*queryTimeout+pace {
					t.Errorf("to say that took %v", took)
				}
				f.change(func() { f.err, f.takes, f.answer.endpoints = nil, 0, hosts(1, 2) })
				lookup(t, r, 2)
				use(t, r, time.Minute, 2)
			})
		})
	}
}

func TestTheServerIsBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{answer: answer{hosts(1), 5 * time.Second}}
		r := f.run(t, Settings{MaxStale: time.Hour})
		lookup(t, r, 1)
		f.change(func() { f.takes = time.Hour })
		use(t, r, time.Minute, 1)
		f.change(func() { f.takes, f.answer.endpoints = 0, hosts(1, 2) })
		time.Sleep(time.Second)
		use(t, r, time.Minute, 2)
	})
}

func TestWithoutAnAnswerThereIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{err: errAway}
		r := f.run(t, Settings{MaxStale: time.Hour})
		if _, err := r.Lookup(t.Context(), web); !errors.Is(err, errAway) || err.Error() != "resolve "+web+": away" {
			t.Errorf("got %v", err)
		}
		if n := f.count(); n != attempts {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(time.Minute)
		if n := f.count(); n != 0 {
			t.Errorf("asked %d times though nobody waits", n)
		}
		f.change(func() { f.takes = time.Hour })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := r.Lookup(ctx, web); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("of who left: %v", err)
		}
	})
}

func TestANameThatIsNotThereIsAnAnswerForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{answer: answer{nil, maxTTL}}
		r := f.run(t, Settings{})
		for range 100 { // one that connects in a loop
			lookup(t, r, 0)
			time.Sleep(10 * time.Millisecond)
		}
		if n := f.count(); n > 3 {
			t.Errorf("asked %d times in a second", n)
		}
		f.change(func() { f.answer.endpoints = hosts(1) })
		began := time.Now()
		if pool, err := r.Refresh(t.Context(), web); err != nil || pool.Len() != 1 || time.Since(began) > pace {
			t.Errorf("when it is there: %v, %v after %v", pool, err, time.Since(began))
		}
	})
}

func TestLookupWaitsForRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{answer: answer{hosts(1), 5 * time.Second}}
		r := New(Settings{})
		r.ask = f.ask
		var group sync.WaitGroup
		group.Go(func() { lookup(t, r, 1) })
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		group.Go(func() { r.Run(ctx) })
		time.Sleep(time.Second)
		cancel()
		group.Wait()
		if _, err := r.Lookup(ctx, "late."+web); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// Who is asking when the end comes, with an answer that is due to be renewed, asks no more.
func TestTheEndWaitsForNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{answer: answer{hosts(1), maxTTL}}
		r := New(Settings{MaxStale: time.Hour, Failed: func() {}, Log: slog.New(slog.DiscardHandler)})
		r.ask = func(ctx context.Context, name string) (answer, error) {
			a, err := f.ask(ctx, name)
			if err != nil {
				time.Sleep(time.Millisecond)
			}
			return a, err
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			r.Run(ctx)
			close(ended)
		}()
		lookup(t, r, 1)
		f.change(func() { f.takes = time.Hour })
		time.Sleep(maxTTL/2 + hurriedTimeout/2) // it is asking
		began := time.Now()
		cancel()
		<-ended
		if took := time.Since(began); took > hurriedTimeout {
			t.Errorf("it took %v", took)
		}
	})
}

func BenchmarkFresh(b *testing.B) {
	r := New(Settings{})
	for i := range 100 {
		s := newService(fmt.Sprintf("service%d.shop.skydns.local", i))
		s.known.Store(&known{nil, never})
		r.begin(s.name)
		(*r.services.Load())[s.name] = s
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, ok := r.Fresh("service42.shop.skydns.local"); !ok {
				b.Fatal("not fresh")
			}
		}
	})
}
