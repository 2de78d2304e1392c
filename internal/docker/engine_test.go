package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"
)

// fakeEngine is an Engine behind a unix socket: /version and whatever is in mux.
type fakeEngine struct {
	host     string
	mux      *http.ServeMux
	server   *httptest.Server
	versions atomic.Int32 // times that /version was asked

	mu      sync.Mutex
	version string
}

func startFakeEngine(t *testing.T) *fakeEngine {
	t.Helper()
	path := filepath.Join(t.TempDir(), "docker.sock")
	f := &fakeEngine{host: "unix://" + path, mux: http.NewServeMux()}
	f.setVersion("1.50", "1.24")
	f.mux.HandleFunc("/version", func(w http.ResponseWriter, _ *http.Request) {
		f.versions.Add(1)
		f.mu.Lock()
		defer f.mu.Unlock()
		fmt.Fprint(w, f.version)
	})
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	f.server = httptest.NewUnstartedServer(f.mux)
	f.server.Listener.Close()
	f.server.Listener = listener
	f.server.Start()
	t.Cleanup(func() {
		f.server.CloseClientConnections()
		f.server.Close()
	})
	return f
}

func (f *fakeEngine) setVersion(api, minimum string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version = fmt.Sprintf(`{"Version":"28.0","ApiVersion":%q,"MinAPIVersion":%q}`, api, minimum)
}

func newTestEngine(t *testing.T, host string) *Engine {
	t.Helper()
	e, err := New(host, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestNewReadsTheHost(t *testing.T) {
	for host, want := range map[string]string{
		"":                            "",
		"unix:///run/d.sock":          "",
		"tcp://192.0.2.1:2375":        "",
		"unix://run/d.sock":           "want unix:///path",
		"http://192.0.2.1:2375":       "want unix:///path",
		"tcp://192.0.2.1":             "want unix:///path",
		"192.0.2.1:2375":              "parse Docker host",
		"tcp://192.0.2.1:2375/prefix": "want unix:///path",
	} {
		_, err := New(host, slog.Default())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("New(%q) = %v, want %q", host, err, want)
		}
	}
}

func TestChooseAPI(t *testing.T) {
	for _, test := range []struct{ name, api, minimum, want, wantErr string }{
		{name: "older server", api: "1.41", minimum: "1.12", want: "1.41"},
		{name: "newer server", api: "1.56", minimum: "1.40", want: newestAPI},
		{name: "same", api: newestAPI, minimum: newestAPI, want: newestAPI},
		{name: "no minimum", api: "1.56", want: newestAPI},
		{name: "too new", api: "1.99", minimum: "1.60", wantErr: "needs an upgrade"},
		{name: "no version", wantErr: "read API version"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := chooseAPI(serverVersion{Version: "x", API: test.api, MinimumAPI: test.minimum})
			if got != test.want || (err == nil) != (test.wantErr == "") ||
				err != nil && !strings.Contains(err.Error(), test.wantErr) {
				t.Errorf("got %q, %v; want %q, %q", got, err, test.want, test.wantErr)
			}
		})
	}
}

func TestClientIsMadeOnceAndSpeaksTheServersVersion(t *testing.T) {
	fake := startFakeEngine(t)
	asked := make(chan string, 1)
	fake.mux.HandleFunc("/v1.50/containers/json", func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		fmt.Fprint(w, "[]")
	})
	e := newTestEngine(t, fake.host)
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			if _, err := e.Client(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	client, err := e.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.ListContainers(dockerclient.ListContainersOptions{Context: t.Context()}); err != nil {
		t.Fatal(err)
	}
	<-asked
	if n := fake.versions.Load(); n != 1 {
		t.Errorf("asked for the version %d times", n)
	}
}

func TestClientTriesAgainAfterAnError(t *testing.T) {
	fake := startFakeEngine(t)
	fake.setVersion("1.99", "1.98")
	e := newTestEngine(t, fake.host)
	if _, err := e.Client(t.Context()); err == nil || !strings.Contains(err.Error(), "needs an upgrade") {
		t.Fatalf("a server that is too new: %v", err)
	}
	fake.setVersion("1.50", "1.24")
	if _, err := e.Client(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestClientOfAHangingEngineHonoursTheContext(t *testing.T) {
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() // accepts by its backlog, and never answers
	e := newTestEngine(t, "unix://"+listener.Addr().String())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := e.Client(ctx); !errors.Is(err, context.DeadlineExceeded) || !IsUnavailable(err) {
		t.Errorf("got %v", err)
	}
}

func TestContainersReadsAddressesByNetwork(t *testing.T) {
	fake := startFakeEngine(t)
	fake.mux.HandleFunc("/v1.50/containers/json", func(w http.ResponseWriter, r *http.Request) {
		if got := r.URL.Query().Get("filters"); got != `{"label":["dokkaa.cluster"]}` || r.URL.Query().Get("all") != "1" {
			t.Errorf("query is %v", r.URL.Query())
		}
		fmt.Fprint(w, `[{"Id":"c1","Names":["/other/alias","/web"],"State":"running","Labels":{"dokkaa.cluster":"x"},
			"NetworkSettings":{"Networks":{"dokkaa":{"IPAddress":"172.30.0.2","GlobalIPv6Address":"2001:db8::2"},"none":{"IPAddress":""}}}}]`)
	})
	got, err := newTestEngine(t, fake.host).Containers(t.Context(), "dokkaa.cluster")
	want := []Container{{ID: "c1", Name: "web", State: "running", Labels: map[string]string{"dokkaa.cluster": "x"},
		Addrs: map[string][]netip.Addr{"dokkaa": {netip.MustParseAddr("172.30.0.2"), netip.MustParseAddr("2001:db8::2")}}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestErrorClasses(t *testing.T) {
	absent := newTestEngine(t, "unix:///nonexistent/docker.sock")
	_, unreachable := absent.Client(t.Context())
	for _, test := range []struct {
		name                            string
		err                             error
		notFound, conflict, unavailable bool
	}{
		{name: "none"},
		{name: "no container", err: fmt.Errorf("inspect: %w", &dockerclient.NoSuchContainer{ID: "x"}), notFound: true},
		{name: "no image", err: dockerclient.ErrNoSuchImage, notFound: true},
		{name: "404", err: &dockerclient.Error{Status: 404}, notFound: true},
		{name: "name taken", err: dockerclient.ErrContainerAlreadyExists, conflict: true},
		{name: "409", err: &dockerclient.Error{Status: 409}, conflict: true},
		{name: "refused", err: dockerclient.ErrConnectionRefused, unavailable: true},
		{name: "no socket", err: unreachable, unavailable: true},
		{name: "deadline", err: context.DeadlineExceeded, unavailable: true},
		{name: "500 is an answer", err: &dockerclient.Error{Status: 500}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if IsNotFound(test.err) != test.notFound || IsConflict(test.err) != test.conflict || IsUnavailable(test.err) != test.unavailable {
				t.Errorf("%v: not found %v, conflict %v, unavailable %v", test.err,
					IsNotFound(test.err), IsConflict(test.err), IsUnavailable(test.err))
			}
		})
	}
}

func TestWords(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	err := fmt.Errorf("start container: %w", &dockerclient.Error{Status: 500,
		Message: `{"message":"driver failed on endpoint nginx (` + id + `): Bind for 0.0.0.0:80 failed: port is already allocated"}`})
	if got, want := Words(err), "start container: driver failed on endpoint nginx: Bind for 0.0.0.0:80 failed: port is already allocated"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	plain := fmt.Errorf("start container: %w", &dockerclient.Error{Status: 500, Message: "no JSON"})
	if got, want := Words(plain), "start container: no JSON"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestDoSendsJSONToTheServersVersion(t *testing.T) {
	fake := startFakeEngine(t)
	fake.mux.HandleFunc("POST /v1.50/containers/c1/exec", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != `{"Cmd":"true"}` || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("got %q as %q, %v", body, r.Header.Get("Content-Type"), err)
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, "made")
	})
	e := newTestEngine(t, fake.host)
	resp, err := e.Do(t.Context(), http.MethodPost, "/containers/c1/exec", map[string]string{"Cmd": "true"})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, err := io.ReadAll(resp.Body); err != nil || string(answer) != "made" {
		t.Errorf("answer %q, %v", answer, err)
	}
	if _, err := e.Do(t.Context(), http.MethodGet, "/nowhere", nil); !IsNotFound(err) {
		t.Errorf("what is not there: %v", err)
	}
}
