package digitalocean

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func TestAskOwnIP(t *testing.T) {
	tests := map[string]struct {
		status int
		body   string
		ip     string
	}{
		"address":        {200, "198.51.100.7\n", "198.51.100.7"},
		"IPv6":           {200, "2001:db8::1\n", ""},
		"something else": {200, "<html>" + strings.Repeat("x", 1000), ""},
		"error":          {503, "198.51.100.7\n", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
			}))
			t.Cleanup(server.Close)
			ip, err := askOwnIP(t.Context(), server.URL)
			want, _ := netip.ParseAddr(test.ip)
			if ip != want || (err == nil) != want.IsValid() {
				t.Errorf("it is %s, %v", ip, err)
			}
		})
	}
}
