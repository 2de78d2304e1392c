package dokkaacfg

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

// logsCluster is a cluster with a gateway of the test's own, for two instances of dummy/web.
func logsCluster(t *testing.T, logs http.HandlerFunc) *testCluster {
	t.Helper()
	c := newTestCluster(t)
	etcd, err := url.Parse(c.etcd.Endpoints()[0])
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/v2/", httputil.NewSingleHostReverseProxy(etcd))
	mux.HandleFunc("GET /v1/hosts/{ip}/instances/{instance}/{what}", logs)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	c.gateway = server.URL
	ref := state.Ref{App: "dummy", Name: "web"}
	c.put(ref.ManifestKey(), `{"image": "x", "scale": 2}`)
	for n, host := range []string{1: "10.101.0.1", 2: "10.101.0.2"} {
		if n > 0 {
			c.instance(ref, n, host)
		}
	}
	return c
}

// instance writes of an instance that runs, i<n>.
func (c *testCluster) instance(ref state.Ref, n int, host string) {
	c.t.Helper()
	id := fmt.Sprintf("i%d", n)
	c.put(ref.SlotKey(n), fmt.Sprintf(`{"current": {"host": %q, "instance": %q, "revision": 1}}`, host, id),
		state.InstanceKey(host, id), fmt.Sprintf(`{"app": %q, "name": %q, "slot": %d, "phase": "healthy"}`, ref.App, ref.Name, n))
	c.lease(host, "{}")
}

func TestLogsInTheOrderOfTime(t *testing.T) {
	c := logsCluster(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.PathValue("ip") + " " + r.PathValue("instance") {
		case "10.101.0.1 i1":
			fmt.Fprintln(w, `{"time": "2026-01-01T00:00:01Z", "text": "first"}`+"\n"+`{"time": "2026-01-01T00:00:03Z", "text": "third"}`)
		case "10.101.0.2 i2":
			fmt.Fprintf(w, `{"time": "2026-01-01T00:00:02Z", "text": "second: %s"}`, r.URL.Query().Get("tail"))
		}
	})
	if out := c.mustRun("logs", "dummy", "--tail=7"); out != "dummy/web 1 | first\ndummy/web 2 | second: 7\ndummy/web 1 | third\n" {
		t.Errorf("it says\n%s", out)
	}
	if out := c.mustRun("logs", "dummy/web", "--host=10.101.0.2"); out != "dummy/web 2 | second: 100\n" {
		t.Errorf("of one host\n%s", out)
	}
	c.fails("there is nothing of dummy/none", "logs", "dummy/none")
	c.fails("is neither a duration such as 10m", "logs", "dummy", "--since=soon")
	c.fails("is neither an application nor a container", "logs", "dummy/")
}

// A host that cannot be asked is told of, and the others are shown.
func TestLogsOfAHostThatIsAway(t *testing.T) {
	c := logsCluster(t, func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("ip") == "10.101.0.1" {
			http.Error(w, "the conductor does not answer", http.StatusBadGateway)
			return
		}
		fmt.Fprintln(w, `{"text": "here"}`+"\n"+`{"error": "Docker went away"}`)
	})
	out, err := c.run("", "logs", "dummy")
	const want = "read the logs of dummy/web 1 on host 10.101.0.1: 502 Bad Gateway: the conductor does not answer\nread the logs of dummy/web 2 on host 10.101.0.2: Docker went away"
	if out != "dummy/web 2 | here\n" || err == nil || err.Error() != want {
		t.Errorf("it says\n%s\n%v", out, err)
	}
}

// One who follows sees instances that start later, and a stream that broke off goes on where it was.
func TestFollowLogs(t *testing.T) {
	var mu sync.Mutex
	asked := map[string][]string{}
	c := logsCluster(t, func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("instance")
		mu.Lock()
		asked[id] = append(asked[id], r.URL.Query().Get("since"))
		times := len(asked[id])
		mu.Unlock()
		fmt.Fprintf(w, `{"time": "2026-01-01T00:00:0%dZ", "text": "part %d"}`+"\n", times, times)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		if id != "i1" {
			<-r.Context().Done()
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out := &watched{seen: map[string]bool{}, want: []string{"dummy/web 1 | part 2", "dummy/web 2 | part 1", "dummy/web 3 | part 1"}, all: cancel}
	s, _ := newSession(t, &fakeProvider{}, "")
	s.out = out
	cmd := &logsCommand{Of: "dummy/web", Follow: true, Tail: -1}
	s.provider = c.provider()
	s.doors.elsewhere = c.gatewayURL
	c.instance(state.Ref{App: "dummy", Name: "web"}, 3, "10.101.0.2")
	if err := cmd.Run(ctx, s); err != nil {
		t.Errorf("it ends with %v", err)
	}
	if len(out.seen) != len(out.want) {
		t.Errorf("seen are %v", out.seen)
	}
	mu.Lock()
	defer mu.Unlock()
	if since := asked["i1"]; len(since) < 2 || since[0] != "" || since[1] != "2026-01-01T00:00:01.000000001Z" {
		t.Errorf("since %q", since)
	}
}

// watched calls all when it was told all that is wanted.
type watched struct {
	want []string
	all  func()

	mu   sync.Mutex
	seen map[string]bool
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, text := range w.want {
		if strings.Contains(string(p), text) {
			w.seen[text] = true
		}
	}
	if len(w.seen) == len(w.want) {
		w.all()
	}
	return len(p), nil
}
