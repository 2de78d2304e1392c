package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/internal/handover"
	"time"
)

func TestOnlyOurNamesAndPagesAreServed(t *testing.T) {
	checkLeaks(t)
	d := startReadyGateway(t, startMember(t, "etcd", nil).URL)
	own := d.url
	for _, test := range []struct {
		name, host, origin string
		want               int
	}{
		{name: "IP address", want: 200},
		{name: "any IP address", host: "198.51.100.7:4001", want: 200},
		{name: "IPv6 address", host: "[2001:db8::1]:4001", want: 200},
		{name: "localhost", host: "localhost:4001", want: 200},
		{name: "configured name", host: "Keys.Test:4001", want: 200},
		{name: "rebinding name", host: "evil.test:4001", want: 421},
		{name: "rebinding name without port", host: "evil.test", want: 421},
		{name: "name that ends like ours", host: "xlocalhost", want: 421},
		{name: "own page", origin: own, want: 200},
		{name: "own page by name", host: "keys.test", origin: "http://keys.test:80", want: 200},
		{name: "foreign page", origin: "http://evil.test", want: 403},
		{name: "other port", origin: "http://127.0.0.1:1", want: 403},
		{name: "other scheme", origin: strings.Replace(own, "http:", "https:", 1), want: 403},
		{name: "sandboxed page", origin: "null", want: 403},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete} {
			t.Run(test.name+" "+method, func(t *testing.T) {
				req := d.request(method, "/v2/keys/x", "")
				req.Host = test.host
				if test.origin != "" {
					req.Header.Set("Origin", test.origin)
				}
				status, _, body, err := d.send(req)
				if err != nil || status != test.want {
					t.Errorf("got %d %q, %v; want %d", status, body, err, test.want)
				}
			})
		}
	}
}

func TestOnlyWhatUsersNeedPasses(t *testing.T) {
	checkLeaks(t)
	d := startReadyGateway(t, startMember(t, "etcd", nil).URL)
	for _, test := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/v2/keys", 200},
		{"GET", "/v2/keys/", 200},
		{"HEAD", "/v2/keys/apps", 200},
		{"PUT", "/v2/keys/apps/dummy/nginx/manifest", 200},
		{"GET", "/v2/members", 200},
		{"POST", "/v2/members", 405},
		{"DELETE", "/v2/members/1", 404},
		{"GET", "/version", 200},
		{"GET", "/health", 200},
		{"OPTIONS", "/v2/keys/apps", 405},
		{"GET", "/v2/keysx", 404},
		{"GET", "/v2/auth/users", 404},
		{"GET", "/v2/keys/../auth/users", 400},
		{"GET", "/v2/keys/%2e%2e/auth/users", 400},
		{"POST", "/v3/kv/put", 404},
		{"GET", "/debug/vars", 404},
		{"GET", "/", 404},
		{"GET", "/healthz", 200},
		{"GET", "/readyz", 200},
		{"GET", "/metrics", 200},
	} {
		if status, body := d.do(test.method, test.path, ""); status != test.want {
			t.Errorf("%s %s: %d %q, want %d", test.method, test.path, status, body, test.want)
		}
	}
}

func TestForeignPagesGetNoPermissions(t *testing.T) {
	checkLeaks(t)
	member := startMember(t, "", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Methods", "PUT")
		w.Header().Set("X-Etcd-Index", "7")
	})
	d := startReadyGateway(t, member.URL)
	_, header, _, err := d.send(d.request(http.MethodGet, "/v2/keys/x", ""))
	if err != nil {
		t.Fatal(err)
	}
	if header.Get("Access-Control-Allow-Origin") != "" || header.Get("Access-Control-Allow-Methods") != "" || header.Get("X-Etcd-Index") != "7" {
		t.Errorf("header is %v", header)
	}
}

func TestTheDocumentedCommandWritesAManifest(t *testing.T) {
	checkLeaks(t)
	got := make(chan string, 1)
	member := startMember(t, "", func(w http.ResponseWriter, r *http.Request) {
		got <- r.Method + " " + r.URL.Path + " " + r.PostFormValue("value")
		w.WriteHeader(http.StatusCreated)
	})
	d := startReadyGateway(t, member.URL)
	manifest := `{"image": "dockerfile/ubuntu", "command": ["/bin/bash", "-c", "a && b; c + 100%"]}`
	for _, padding := range []string{"", strings.Repeat(" ", 300_000)} { // curl asks first ("Expect") from 1 MB on
		curl := exec.CommandContext(t.Context(), "curl", "-sS", "-L", "-XPUT", "-o", "/dev/null", "-w", "%{http_code}",
			"--data-urlencode", "value@-", d.url+"/v2/keys/apps/dummy/nginx/manifest")
		curl.Stdin = strings.NewReader(manifest + padding)
		if out, err := curl.CombinedOutput(); err != nil || string(out) != "201" {
			t.Fatalf("curl: %v, %s", err, out)
		}
		if text := <-got; text != "PUT /v2/keys/apps/dummy/nginx/manifest "+manifest+padding {
			t.Errorf("etcd got %.300s", text)
		}
	}
}

func TestAValueThatIsTooLongIsRefused(t *testing.T) {
	checkLeaks(t)
	member := startMember(t, "etcd", nil)
	d := startReadyGateway(t, member.URL)
	if status, _ := d.do(http.MethodPut, "/v2/keys/x", formOfValue(strings.Repeat("+", maxValue))); status != 200 {
		t.Errorf("longest value: %d", status)
	}
	for _, length := range []int{maxValue + 1, 2 * maxBody} {
		status, body := d.do(http.MethodPut, "/v2/keys/x", "value="+strings.Repeat("x", length))
		if status != http.StatusRequestEntityTooLarge || !strings.Contains(body, "longer than 1048576 bytes") {
			t.Errorf("value of %d bytes: %d %q", length, status, body)
		}
	}
	if member.served.Load() != 1 {
		t.Errorf("etcd got %d requests", member.served.Load())
	}
}

func TestALongPollIsKeptAndPassedOnAtOnce(t *testing.T) {
	checkLeaks(t)
	event, left := make(chan string), make(chan struct{})
	member := startMember(t, "", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Etcd-Index", "7")
		w.(http.Flusher).Flush()
		select {
		case text := <-event:
			fmt.Fprint(w, text)
		case <-r.Context().Done():
			close(left)
		}
	})
	d := startReadyGateway(t, member.URL)
	resp, err := d.client.Get(d.url + "/v2/keys/apps?wait=true&recursive=true")
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("X-Etcd-Index"); got != "7" {
		t.Errorf("index before the event: %q", got)
	}
	event <- "changed"
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "changed" {
		t.Errorf("got %q, %v", body, err)
	}
	resp.Body.Close()

	ctx, cancel := context.WithCancel(t.Context())
	if resp, err = d.client.Do(d.request(http.MethodGet, "/v2/keys/apps?wait=true", "").WithContext(ctx)); err != nil {
		t.Fatal(err)
	}
	cancel()
	resp.Body.Close()
	select {
	case <-left:
	case <-time.After(waitFor):
		t.Error("etcd was not told that the client left")
	}
}

func TestAwayEtcdIsToldAsItIs(t *testing.T) {
	checkLeaks(t)
	d := startGateway(t, "127.0.0.1:1", "127.0.0.1:2")
	eventually(t, func() error {
		if text := d.cluster.explain(); strings.Contains(text, "not asked yet") {
			return fmt.Errorf("members: %s", text)
		}
		return nil
	})
	status, header, body, err := d.send(d.request(http.MethodGet, "/v2/keys/apps", ""))
	if err != nil || status != http.StatusServiceUnavailable || header.Get("Content-Type") != "application/json" {
		t.Fatalf("got %d, %v, %v", status, header, err)
	}
	var answer struct {
		ErrorCode      int
		Message, Cause string
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatal(err)
	}
	if answer.ErrorCode != codeRaftInternal || answer.Message != "etcd is away" ||
		!strings.Contains(answer.Cause, "127.0.0.1:1: ") || !strings.Contains(answer.Cause, "127.0.0.1:2: ") ||
		!strings.Contains(answer.Cause, "connection refused") {
		t.Errorf("got %+v", answer)
	}

	req := d.request(http.MethodGet, "/v2/keys/apps", "")
	req.Header.Set("Accept", "text/html,*/*")
	status, header, body, err = d.send(req)
	if err != nil || status != http.StatusServiceUnavailable || !strings.HasPrefix(header.Get("Content-Type"), "text/html") ||
		!strings.Contains(body, "<h1>etcd is away</h1>") || !strings.Contains(body, "connection refused") {
		t.Errorf("page: %d %v %s, %v", status, header, body, err)
	}
	if status, body := d.do(http.MethodGet, "/readyz", ""); status != http.StatusServiceUnavailable || !strings.Contains(body, "no member of etcd is healthy") {
		t.Errorf("readyz: %d %s", status, body)
	}
	if status, _ := d.do(http.MethodGet, "/healthz", ""); status != http.StatusOK {
		t.Errorf("healthz: %d", status)
	}
}

func TestAnAddressThatIsNotThereYetIsAwaited(t *testing.T) {
	checkLeaks(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := newEntrance(taken.Addr().String(), handover.Alone(), nil, startGateway(t, "127.0.0.1:1").log)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.run(ctx, http.NotFoundHandler()) }()
	eventually(t, func() error {
		if err := e.ready(); err == nil || !strings.Contains(err.Error(), "in use") {
			return fmt.Errorf("ready: %w", err)
		}
		return nil
	})
	taken.Close()
	eventually(t, e.ready)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestShutdownFinishesRequestsButNotPolls(t *testing.T) {
	checkLeaks(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	member := startMember(t, "", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("wait") == "true" {
			hold(w, r)
			return
		}
		close(asked)
		<-answer
		fmt.Fprint(w, "done")
	})
	d := startReadyGateway(t, member.URL)
	poll := d.startPoll("/v2/keys/x?wait=true")
	got := make(chan string, 1)
	go func() {
		_, _, body, err := d.send(d.request(http.MethodPut, "/v2/keys/x?prevExist=true", formOfValue("1")))
		got <- fmt.Sprint(body, err)
	}()
	<-asked
	stopped := make(chan struct{})
	go func() {
		d.stop()
		close(stopped)
	}()
	if err := <-poll; err == nil {
		t.Error("poll ended as if there were an event")
	}
	close(answer)
	if text := <-got; text != "done<nil>" {
		t.Errorf("request under way: %s", text)
	}
	<-stopped
}

func TestSettings(t *testing.T) {
	for _, test := range []struct {
		name           string
		settings       Settings
		addrs, members string
		err            string
	}{
		{name: "host", settings: Settings{HostIP: "192.0.2.1"},
			addrs: "127.0.0.1:4001 192.0.2.1:4001", members: "http://192.0.2.1:2379"},
		{name: "loopback", settings: Settings{HostIP: "127.0.0.1"}, addrs: "127.0.0.1:4001", members: "http://127.0.0.1:2379"},
		{name: "all", settings: Settings{GatewayAddrs: []string{":4001"}, EtcdAddrs: []string{"a:1", "https://b:2/"}},
			addrs: ":4001", members: "http://a:1 https://b:2"},
		{name: "nothing", err: "one of them is needed"},
		{name: "no address", settings: Settings{HostIP: "host"}, err: "--host-ip"},
		{name: "no port", settings: Settings{EtcdAddrs: []string{"http://a"}}, err: "--etcd-addr"},
		{name: "a path", settings: Settings{EtcdAddrs: []string{"http://a:1/v2"}}, err: "--etcd-addr"},
		{name: "listen on nothing", settings: Settings{HostIP: "192.0.2.1", GatewayAddrs: []string{"x"}}, err: "--gateway-addr"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.settings.Validate()
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			members, err := test.settings.members()
			if err != nil {
				t.Fatal(err)
			}
			var urls []string
			for _, u := range members {
				urls = append(urls, u.String())
			}
			if got := strings.Join(test.settings.addrs(), " "); got != test.addrs {
				t.Errorf("listens on %s", got)
			}
			if got := strings.Join(urls, " "); got != test.members {
				t.Errorf("members are %s", got)
			}
		})
	}
}
