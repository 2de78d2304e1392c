package agent

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// pages is a server that answers checks in many ways.
func pages(t *testing.T) (port int) {
	mux := http.NewServeMux()
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	mux.HandleFunc("/ok", status(http.StatusNoContent))
	mux.HandleFunc("/bad", status(http.StatusServiceUnavailable))
	mux.HandleFunc("/absent", status(http.StatusBadRequest))
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/bad", http.StatusFound) })
	mux.HandleFunc("/asks", func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "example.com" || r.Header.Get("X-Token") != "secret" || !r.Close || r.URL.RawQuery != "a=b" {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	mux.HandleFunc("/hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for err := error(nil); err == nil; {
			_, err = w.Write(make([]byte, 1<<10))
		}
	})
	mux.HandleFunc("/hangs-up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.Listener.Addr().(*net.TCPAddr).Port
}

func TestChecksOfTheNetwork(t *testing.T) {
	port := pages(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closedPort := closed.Addr().(*net.TCPAddr).Port
	closed.Close()
	page := func(path string) manifest.Check { return manifest.Check{Type: manifest.CheckHTTP, Path: path} }
	asking := page("/asks?a=b")
	asking.Headers = map[string]string{"host": "example.com", "X-Token": "secret"}
	tests := map[string]struct {
		check manifest.Check
		port  int
		want  string // the end of the error, without the port; "" if it passes
	}{
		"answers":              {page("/ok"), port, ""},
		"is unavailable":       {page("/bad"), port, ": status 503"},
		"refuses":              {page("/absent"), port, ": status 400"},
		"redirects":            {page("/moved"), port, ""},
		"headers":              {asking, port, ""},
		"does not answer":      {page("/hangs"), port, ": no answer in time"},
		"answers without end":  {page("/endless"), port, ""},
		"hangs up":             {page("/hangs-up"), port, ": EOF"},
		"nobody listens":       {page("/ok"), closedPort, ": connect: connection refused"},
		"accepts":              {manifest.Check{Type: manifest.CheckTCP}, port, ""},
		"does not accept":      {manifest.Check{Type: manifest.CheckTCP}, closedPort, ": connect: connection refused"},
		"there is no service":  {manifest.Check{Type: manifest.CheckTCP, Service: "web"}, 0, `there is no service "web"`},
		"is no server of HTTP": {page("/"), echoing(t), ": net/http: HTTP/1.x transport connection broken: malformed HTTP status code"},
	}
	k := checker{dial: dialTCP, get: newGetter()}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.check.Timeout = manifest.Duration(300 * time.Millisecond)
			err := k.try(t.Context(), check{Check: test.check, port: test.port}, target{addr: netip.MustParseAddr("127.0.0.1")}, new(string))
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "127.0.0.1") {
				t.Errorf("the reason is another one each time: %v", err)
			}
		})
	}
}

// echoing is the port of a server that answers with what is not HTTP.
func echoing(t *testing.T) int {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { listener.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1024))
			_, _ = conn.Write([]byte("220 welcome\r\n"))
			conn.Close()
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port
}

func TestChecksByCommand(t *testing.T) {
	tests := map[string]struct {
		exec    engine.Exec
		err     error
		want    string
		unknown bool
		running string // that the next try is told of
	}{
		"passes":            {exec: engine.Exec{ID: "1", Output: "well"}},
		"fails":             {exec: engine.Exec{ID: "1", Code: 2, Output: "no table"}, want: "command /check exited with code 2: no table"},
		"does not end":      {exec: engine.Exec{ID: "1", Running: true}, want: "command /check has not ended within 1m", running: "1"},
		"Docker is away":    {err: errors.New("no socket"), want: "the health of the container is not known: no socket", unknown: true},
		"Docker gave it up": {err: context.DeadlineExceeded, want: "the health of the container is not known: context deadline exceeded", unknown: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			k := checker{execs: newPlaces(1), exec: func(_ context.Context, container string, command []string, after string) (engine.Exec, error) {
				if container != "c" || len(command) != 2 || after != "0" {
					t.Errorf("ran %q in %s after %s", command, container, after)
				}
				return test.exec, test.err
			}}
			running := "0"
			err := k.try(t.Context(), check{Check: manifest.Check{Type: manifest.CheckExec, Command: []string{"/check", "-x"},
				Timeout: manifest.Duration(time.Minute)}}, target{container: "c"}, &running)
			if test.want == "" && err != nil || test.want != "" && (err == nil || err.Error() != test.want) || errors.Is(err, errUntried) != test.unknown {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if !test.unknown && running != test.running {
				t.Errorf("the next follows %q", running)
			}
		})
	}
}

func TestWhichChecks(t *testing.T) {
	services := map[string]manifest.Service{"web": {Port: 80}, "admin": {Port: 81}}
	desired := func(numbers []int, checks ...manifest.Check) Desired {
		var ports []engine.Port
		for _, number := range numbers {
			ports = append(ports, engine.TCP(number))
		}
		return Desired{Spec: engine.Spec{Ref: state.Ref{App: "a", Name: "b"}, Ports: ports}, Services: services, Manifest: &manifest.Manifest{Checks: checks}}
	}
	unreadable := desired([]int{80})
	unreadable.Invalid, unreadable.Manifest = "of the future", nil
	datagrams, both := desired(nil), desired([]int{80})
	datagrams.Ports, both.Ports = []engine.Port{engine.UDP(53)}, append(both.Ports, engine.UDP(80))
	tests := map[string]struct {
		desired   Desired
		container engine.Container
		want      string // type and port of each
	}{
		"the manifest's": {desired([]int{80, 81}, manifest.Check{Type: manifest.CheckHTTP, Service: "admin"}, manifest.Check{Type: manifest.CheckExec}),
			engine.Container{Health: engine.HealthHealthy}, "http 81, exec 0"},
		"of no service":   {desired([]int{80, 81}, manifest.Check{Type: manifest.CheckTCP}), engine.Container{}, "tcp 0"},
		"the image's":     {desired([]int{80}), engine.Container{Health: engine.HealthStarting}, "image 0"},
		"each port":       {desired([]int{80, 81}), engine.Container{}, "tcp 80, tcp 81"},
		"datagrams only":  {datagrams, engine.Container{}, "steady 0"},
		"datagrams too":   {both, engine.Container{}, "tcp 80"},
		"nothing to ask":  {desired(nil), engine.Container{}, "steady 0"},
		"published ports": {unreadable, engine.Container{Ports: map[engine.Port]int{engine.TCP(99): 1}}, "tcp 99"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, c := range test.desired.checks(test.container) {
				got = append(got, string(c.Type)+" "+strconv.Itoa(c.port))
			}
			if strings.Join(got, ", ") != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{30 * time.Minute: "30m", time.Hour: "1h", 90 * time.Second: "1m30s", 2 * time.Second: "2s",
		time.Hour + 5*time.Minute: "1h5m", 10 * time.Hour: "10h", 100 * time.Millisecond: "100ms"} {
		if got := short(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
