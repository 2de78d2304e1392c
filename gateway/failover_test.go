package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// breakOff reads the request and hangs up without an answer.
func breakOff(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	panic(http.ErrAbortHandler)
}

func TestWhatIsSentASecondTime(t *testing.T) {
	checkLeaks(t)
	for _, test := range []struct {
		name, method, query, form string
		want                      bool
	}{
		{name: "read", method: "GET", want: true},
		{name: "write", method: "PUT", form: "value=1", want: true},
		{name: "write by query", method: "PUT", query: "?value=1", want: true},
		{name: "write with TTL", method: "PUT", form: "value=1&ttl=8", want: true},
		{name: "empty value", method: "PUT", form: "value=", want: true},
		{name: "refresh without value", method: "PUT", form: "ttl=8&refresh=true"},
		{name: "create", method: "PUT", form: "value=1&prevExist=false"},
		{name: "create by query", method: "PUT", query: "?prevExist=false", form: "value=1"},
		{name: "compare index", method: "PUT", form: "value=1&prevIndex=7"},
		{name: "compare value", method: "PUT", form: "value=1&prevValue=0"},
		{name: "in order", method: "POST", form: "value=1"},
		{name: "delete", method: "DELETE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			first, second := startMember(t, "", breakOff), startMember(t, "second", nil)
			d := startGateway(t, first.URL, second.URL)
			eventually(t, func() error {
				if text := d.cluster.explain(); strings.Count(text, ": answers") != 2 {
					return fmt.Errorf("members: %s", text)
				}
				return nil
			})
			status, body := d.do(test.method, "/v2/keys/x"+test.query, test.form)
			if test.want && (status != 200 || body != "second") {
				t.Errorf("got %d %q", status, body)
			}
			if !test.want && (status != http.StatusGatewayTimeout || !strings.Contains(body, "may or may not have been applied") || second.served.Load() > 0) {
				t.Errorf("got %d %q, second member served %d", status, body, second.served.Load())
			}
			if n := first.served.Load(); n != 1 {
				t.Errorf("first member served %d", n)
			}
		})
	}
}

// A member that hangs goes on some time. It must not apply then what another one was given since.
func TestAMemberThatHangsIsNotLeftAWrite(t *testing.T) {
	checkLeaks(t)
	for name, form := range map[string]string{"write": "value=late", "create": "value=late&prevExist=false"} {
		t.Run(name, func(t *testing.T) {
			reached, goOn, read := make(chan struct{}, 1), make(chan struct{}), make(chan string, 1)
			first := startMember(t, "", func(_ http.ResponseWriter, r *http.Request) {
				reached <- struct{}{}
				<-goOn
				body, _ := io.ReadAll(r.Body)
				read <- string(body)
			})
			second := startMember(t, "second", nil)
			d := startReadyGateway(t, first.URL, second.URL)
			answer := make(chan string, 1)
			go func() {
				_, body := d.do("PUT", "/v2/keys/x", form)
				answer <- body
			}()
			<-reached
			first.hangs.Store(true)
			if got := <-answer; got != "second" {
				t.Errorf("the answer is %q", got)
			}
			close(goOn)
			if got := <-read; got != "" {
				t.Errorf("the member that hung reads %q", got)
			}
		})
	}
}

func TestWhatWasNotSentGoesToTheNextMember(t *testing.T) {
	checkLeaks(t)
	member := startMember(t, "second", nil)
	d := startGateway(t, "127.0.0.1:1", member.URL)
	for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
		if status, body := d.do(method, "/v2/keys/x?prevExist=true", ""); status != 200 || body != "second" {
			t.Errorf("%s: %d %q", method, status, body)
		}
	}
}

func TestAMemberIsKeptWhileItIsAsGoodAsAny(t *testing.T) {
	checkLeaks(t)
	first, second := startMember(t, "first", nil), startMember(t, "second", nil)
	d := startReadyGateway(t, first.URL, second.URL)
	ask := func() string {
		_, body := d.do("GET", "/v2/keys/x", "")
		return body
	}
	wantSoon := func(want string) {
		t.Helper()
		eventually(t, func() error {
			if got := ask(); got != want {
				return fmt.Errorf("asked %s, want %s", got, want)
			}
			return nil
		})
	}
	wantSoon("first")
	first.ill.Store(true)
	wantSoon("second")
	first.ill.Store(false)
	eventually(t, func() error {
		if condition, err := d.cluster.members[0].state(); condition != healthy {
			return err
		}
		return nil
	})
	if got := ask(); got != "second" {
		t.Errorf("went back to %s for no reason", got)
	}
	second.hangs.Store(true)
	wantSoon("first")
	first.ill.Store(true) // but answers
	time.Sleep(2 * probeEvery)
	wantSoon("first")
}

func TestAPollOnALostMemberIsCut(t *testing.T) {
	checkLeaks(t)
	for name, lose := range map[string]func(m *fakeMember){
		"hangs":      func(m *fakeMember) { m.hangs.Store(true) },
		"leaderless": func(m *fakeMember) { m.ill.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			first, second := startMember(t, "", hold), startMember(t, "second", nil)
			d := startReadyGateway(t, first.URL, second.URL)
			poll := d.startPoll("/v2/keys/x?wait=true")
			lose(first)
			select {
			case err := <-poll:
				if err == nil {
					t.Error("ended as if there were an event")
				}
			case <-time.After(waitFor):
				t.Fatal("goes on")
			}
			if status, body := d.do("GET", "/v2/keys/x?wait=true", ""); status != 200 || body != "second" {
				t.Errorf("next poll: %d %q", status, body)
			}
		})
	}
}

func TestAPollIsNotCutWhereNoMemberIsBetter(t *testing.T) {
	checkLeaks(t)
	member := startMember(t, "", hold)
	d := startReadyGateway(t, member.URL)
	poll := d.startPoll("/v2/keys/x?wait=true")
	member.ill.Store(true) // as all are while they elect a leader
	select {
	case err := <-poll:
		t.Errorf("was cut: %v", err)
	case <-time.After(4 * probeEvery):
	}
}

func TestARequestToALostMemberGoesToTheNext(t *testing.T) {
	checkLeaks(t)
	stuck := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	first, second := startMember(t, "", stuck), startMember(t, "second", nil)
	d := startReadyGateway(t, first.URL, second.URL)
	read, write := make(chan string, 1), make(chan string, 1)
	ctx, cancel := context.WithTimeout(t.Context(), waitFor)
	defer cancel()
	send := func(method, form string, to chan<- string) {
		status, _, body, err := d.send(d.request(method, "/v2/keys/x", form).WithContext(ctx))
		to <- fmt.Sprint(status, body, err)
	}
	go send("GET", "", read)
	go send("DELETE", "", write)
	eventually(t, func() error {
		if n := first.served.Load(); n < 2 {
			return fmt.Errorf("%d requests arrived", n)
		}
		return nil
	})
	first.hangs.Store(true)
	if got := <-read; got != "200second<nil>" {
		t.Errorf("read: %s", got)
	}
	if got := <-write; !strings.HasPrefix(got, "504") {
		t.Errorf("delete: %s", got)
	}
}
