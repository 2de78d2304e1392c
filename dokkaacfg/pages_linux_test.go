package dokkaacfg

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/internal/vhost"
)

// pageAttempt is a request as a page in a browser can have it sent.
type pageAttempt struct {
	name, method, path, body string
	header                   map[string]string
	host                     string // "" is the address itself
}

const (
	evilOrigin = "http://evil.example"
	formBody   = "value=%7B%22image%22%3A%22evil%22%7D"
	evilKey    = "/v2/keys/apps/evil/evil/manifest"
)

// pageAttempts are the ways of a page that was loaded from elsewhere, and of one whose name has been
// made to resolve to a host.
func pageAttempts() []pageAttempt {
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Origin": evilOrigin}
	preflight := map[string]string{"Origin": evilOrigin, "Access-Control-Request-Method": http.MethodPut, "Access-Control-Request-Headers": "content-type"}
	socket := map[string]string{"Origin": evilOrigin, "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
	all := []pageAttempt{
		{name: "form", method: http.MethodPost, path: evilKey, body: formBody, header: form},
		{name: "form of a sandbox", method: http.MethodPost, path: evilKey, body: formBody, header: map[string]string{"Content-Type": "text/plain", "Origin": "null"}},
		{name: "preflight", method: http.MethodOptions, path: evilKey, header: preflight},
		{name: "web socket", method: http.MethodGet, path: "/v1/exec", header: socket},
		{name: "form by name", method: http.MethodPost, path: evilKey, body: formBody, header: form, host: "evil.example"},
	}
	for _, path := range []string{"/v2/keys", "/v2/members", "/v3/kv/range", "/members", "/metrics", "/version", "/healthz", "/debug/callers", "/v1/services", "/v1/hosts"} {
		all = append(all,
			pageAttempt{name: "script of " + path, method: http.MethodGet, path: path, header: map[string]string{"Origin": evilOrigin}},
			pageAttempt{name: "rebound name, " + path, method: http.MethodGet, path: path, host: "evil.example"})
	}
	return append(all, pageAttempt{name: "rebound PUT", method: http.MethodPut, path: evilKey, body: formBody, header: form, host: "evil.example"})
}

// refusesPages tries what pages in a browser could, on the doors of every host: those on loopback
// too, where a browser on the host is.
func (m *machines) refusesPages() {
	m.Helper()
	for _, machine := range m.machines {
		var group sync.WaitGroup
		for door := range strings.FieldsSeq(m.on(machine, `ss -Htlnp | grep -Ev '"(sshd|docker-proxy|systemd)"' | awk '{print $4}'`)) {
			if addr, err := netip.ParseAddrPort(door); err == nil && addr.Port() != 53 && addr.Addr().String() != bridgeIP {
				group.Go(func() { m.doorRefusesPages(machine, door) })
			}
		}
		group.Wait()
	}
	if out := m.call("status"); strings.Contains(out, "evil") {
		m.Errorf("a page wrote a manifest:\n%s", out)
	}
}

func (m *machines) doorRefusesPages(machine *vhost.Machine, door string) {
	here := place{machine: machine}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return here.dial(ctx, door) },
	}}
	for _, attempt := range pageAttempts() {
		request, err := http.NewRequestWithContext(m.Context(), attempt.method, "http://"+door+attempt.path, strings.NewReader(attempt.body))
		if err != nil {
			m.Error(err)
			return
		}
		request.Host = attempt.host
		for name, value := range attempt.header {
			request.Header.Set(name, value)
		}
		answer, err := client.Do(request)
		if err != nil {
			continue // this door speaks something else
		}
		body, _ := io.ReadAll(io.LimitReader(answer.Body, 200)) // only to say what came
		answer.Body.Close()
		if answer.StatusCode < 400 || answer.Header.Get("Access-Control-Allow-Origin") != "" {
			m.Errorf("host %s, %s: %s gets %s, %v, %.200q", machine.IP(), door, attempt.name, answer.Status, answer.Header, body)
		}
	}
}
