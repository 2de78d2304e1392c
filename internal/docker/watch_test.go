package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// watchInBackground runs Watch until the test ends and returns what it hints at.
func watchInBackground(t *testing.T, e *Engine, filters url.Values) <-chan Event {
	t.Helper()
	events := make(chan Event, 10000)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Watch(ctx, filters, func(event Event) { events <- event }) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Watch returned %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Error("Watch did not end with its context")
		}
	})
	return events
}

func next(t *testing.T, events <-chan Event) Event {
	t.Helper()
	select {
	case event := <-events:
		return event
	case <-time.After(5 * time.Second):
		t.Fatal("no event")
		return Event{}
	}
}

func send(w http.ResponseWriter, id int) {
	fmt.Fprintf(w, `{"Type":"container","Action":"start","Actor":{"ID":"c%d","Attributes":{"name":"web"}},"timeNano":%d}`+"\n", id, id)
}

func TestWatchTellsEveryEventOfABurstInOrder(t *testing.T) {
	fake := startFakeEngine(t)
	queries := make(chan url.Values, 1)
	fake.mux.HandleFunc("/v1.50/events", func(w http.ResponseWriter, r *http.Request) {
		queries <- r.URL.Query()
		for id := range 5000 {
			send(w, id)
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	events := watchInBackground(t, newTestEngine(t, fake.host), url.Values{"type": {"container"}})
	if got := next(t, events); got.Type != Connected {
		t.Fatalf("first event is %+v", got)
	}
	for id := range 5000 {
		want := Event{Type: "container", Action: "start", ID: fmt.Sprintf("c%d", id),
			Attributes: map[string]string{"name": "web"}, Time: time.Unix(0, int64(id))}
		if got := next(t, events); !reflect.DeepEqual(got, want) {
			t.Fatalf("event %d is %+v", id, got)
		}
	}
	var filters map[string][]string
	if err := json.Unmarshal([]byte((<-queries).Get("filters")), &filters); err != nil || len(filters["type"]) != 1 {
		t.Errorf("filters are %v, %v", filters, err)
	}
}

func TestWatchConnectsAgainToAnEngineOfAnotherVersion(t *testing.T) {
	fake := startFakeEngine(t)
	fake.mux.HandleFunc("/v1.50/events", func(w http.ResponseWriter, _ *http.Request) {
		send(w, 1) // and hangs up
		fake.setVersion("1.45", "1.24")
	})
	fake.mux.HandleFunc("/v1.45/events", func(w http.ResponseWriter, r *http.Request) {
		send(w, 2)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	e := newTestEngine(t, fake.host)
	events := watchInBackground(t, e, nil)
	for _, want := range []Event{{Type: Connected}, {Type: "container", ID: "c1"}, {Type: Disconnected},
		{Type: Connected}, {Type: "container", ID: "c2"}} {
		if got := next(t, events); got.ID != want.ID || got.Type != want.Type {
			t.Fatalf("event is %+v, want %+v", got, want)
		}
	}
	if e.api != "1.45" {
		t.Errorf("speaks %s", e.api)
	}
}

func TestWatchGoesOnAfterTheLastEvent(t *testing.T) {
	fake := startFakeEngine(t)
	since := make(chan string, 10)
	fake.mux.HandleFunc("/v1.50/events", func(w http.ResponseWriter, r *http.Request) {
		since <- r.URL.Query().Get("since")
		if len(since) == 1 { // and hangs up
			fmt.Fprint(w, `{"Type":"container","Action":"die","timeNano":7000000000000000123}`+"\n")
			return
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	events := watchInBackground(t, newTestEngine(t, fake.host), nil)
	for _, want := range []string{Connected, "container", Disconnected, Connected} {
		if got := next(t, events); got.Type != want {
			t.Fatalf("event is %+v, want %s", got, want)
		}
	}
	first, err := strconv.ParseFloat(<-since, 64)
	if age := float64(time.Now().Unix()) - first; err != nil || age < 1 || age > 10 {
		t.Errorf("begins %v seconds ago, %v", age, err)
	}
	if again := <-since; again != "7000000000.000000123" {
		t.Errorf("goes on at %s", again)
	}
}

func TestWatchGivesUpOnAConnectionThatHangs(t *testing.T) {
	fake := startFakeEngine(t)
	var calls atomic.Int32
	fake.mux.HandleFunc("/v1.50/events", func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) > 1 {
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	})
	e := newTestEngine(t, fake.host)
	e.connectTimeout = 100 * time.Millisecond
	events := watchInBackground(t, e, nil)
	if got := next(t, events); got.Type != Connected || calls.Load() != 2 {
		t.Fatalf("event is %+v after %d calls", got, calls.Load())
	}
	select {
	case got := <-events:
		t.Errorf("silence is not an event: %+v", got)
	case <-time.After(3 * e.connectTimeout):
	}
}
