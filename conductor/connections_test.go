package conductor

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// firewallAt serves as a firewall's container does, and returns its address.
func firewallAt(t *testing.T, handler http.Handler) string {
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		server.Close()
	})
	return strings.TrimPrefix(server.URL, "http://")
}

func TestConnectionsAreAskedOfTheFirewall(t *testing.T) {
	asked := ""
	mux := http.NewServeMux()
	mux.Handle("GET /connections", countConnections(func(addr netip.Addr, ports []uint16) (int, error) {
		asked = fmt.Sprint(addr, ports)
		if ports[0] == 99 {
			return 0, errors.New("operation not permitted")
		}
		return len(ports), nil
	}))
	addr, firewall := netip.MustParseAddr("172.30.0.5"), firewallAt(t, mux)
	if n, err := askConnections(t.Context(), firewall, addr, []int{80, 443}); n != 2 || err != nil || asked != "172.30.0.5 [80 443]" {
		t.Errorf("%d connections, %v, asked for %s", n, err, asked)
	}
	empty := firewallAt(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "{}") }))
	for name, ask := range map[string]struct {
		firewall string
		addr     netip.Addr
		port     int
		want     string
	}{
		"cannot count":          {firewall, addr, 99, "operation not permitted"},
		"not IPv4":              {firewall, netip.MustParseAddr("fd00::1"), 80, "not an IPv4 address"},
		"no port":               {firewall, addr, 70000, "not a TCP port"},
		"away":                  {"127.0.0.1:1", addr, 80, "connection refused"},
		"of an earlier version": {firewallAt(t, http.NotFoundHandler()), addr, 80, "404"},
		"says nothing":          {empty, addr, 80, "{}"},
	} {
		t.Run(name, func(t *testing.T) {
			if n, err := askConnections(t.Context(), ask.firewall, ask.addr, []int{ask.port}); err == nil || !strings.Contains(err.Error(), ask.want) {
				t.Errorf("%d connections, %v", n, err)
			}
		})
	}
}
