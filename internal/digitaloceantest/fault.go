package digitaloceantest

import (
	"bytes"
	"context"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Fault is what goes wrong with requests.
type Fault struct {
	Method, Path string // which: the path begins so, for example /v2/droplets; "" is any
	Skip         int    // so many of them are answered as they should first
	Times        int    // then this goes wrong so many times; 0 is once

	Status     int           // the answer; 0 breaks the connection without one
	RetryAfter time.Duration // with it, in whole seconds
	After      bool          // what was asked for is done all the same
	Later      int           // it is done, but after so many further requests
}

// Fail lets something go wrong. Of several faults that fit, the first one's turn comes first.
func (a *API) Fail(f Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f.Times = max(1, f.Times)
	a.faults = append(a.faults, &f)
}

// faultFor takes the fault that befalls a request, if one does.
func (a *API) faultFor(r Request) *Fault {
	for _, f := range a.faults {
		if f.Times == 0 || f.Method != "" && f.Method != r.Method || !strings.HasPrefix(r.Path, f.Path) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		f.Times--
		return f
	}
	return nil
}

// late is a request whose effect is still to come.
type late struct {
	after int // further requests
	do    func()
}

// postpone keeps a request for later.
func (a *API) postpone(r *http.Request, after int) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // whoever sent it is gone half-way
	}
	kept := r.Clone(context.WithoutCancel(r.Context()))
	a.postponed = append(a.postponed, late{after, func() {
		kept.Body = io.NopCloser(bytes.NewReader(body))
		a.reply(kept)
	}})
}

// catchUp does what was kept for now.
func (a *API) catchUp(requests int) {
	var still []late
	for _, l := range a.postponed {
		if l.after -= requests; l.after > 0 {
			still = append(still, l)
		} else {
			l.do()
		}
	}
	a.postponed = still
}

// Settle does whatever is still to come.
func (a *API) Settle() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.catchUp(math.MaxInt)
}

func (f *Fault) answer(w http.ResponseWriter) {
	if f.Status == 0 {
		panic(http.ErrAbortHandler)
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
	}
	refuse(f.Status, "%s", http.StatusText(f.Status)).write(w)
}
