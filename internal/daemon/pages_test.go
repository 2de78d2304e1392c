package daemon

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// A page in a browser on the host reaches loopback, and whatever name its owner gives to it.
func TestPagesGetNothing(t *testing.T) {
	const here, elsewhere = "127.0.0.1:5000", "192.0.2.1:5000"
	tests := map[string]struct {
		method, from, host, origin string
		status                     int
	}{
		"by address":                    {http.MethodGet, here, "127.0.0.1:4002", "", http.StatusOK},
		"by IPv6 address":               {http.MethodGet, here, "[::1]:4002", "", http.StatusOK},
		"by address without port":       {http.MethodGet, here, "127.0.0.1", "", http.StatusOK},
		"as localhost":                  {http.MethodGet, here, "LocalHost:4002", "", http.StatusOK},
		"by a name, from elsewhere":     {http.MethodGet, elsewhere, "host1.example:4002", "", http.StatusOK},
		"name that resolves to us":      {http.MethodGet, here, "evil.example:4002", "", http.StatusMisdirectedRequest},
		"the same, over mapped IPv6":    {http.MethodGet, "[::ffff:127.0.0.1]:5000", "evil.example", "", http.StatusMisdirectedRequest},
		"no name":                       {http.MethodGet, here, "", "", http.StatusMisdirectedRequest},
		"script of a page":              {http.MethodGet, here, "127.0.0.1:4002", "https://evil.example", http.StatusForbidden},
		"script of a file":              {http.MethodGet, here, "127.0.0.1:4002", "null", http.StatusForbidden},
		"script of a page in a browser": {http.MethodGet, elsewhere, "192.0.2.9:4002", "http://192.0.2.9:4002", http.StatusForbidden},
		"form":                          {http.MethodPost, here, "127.0.0.1:4002", "https://evil.example", http.StatusForbidden},
		"preflight":                     {http.MethodOptions, here, "127.0.0.1:4002", "https://evil.example", http.StatusForbidden},
	}
	handler := operationsHandler(t.Context(), &testDaemon{}, nil)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), test.method, "/healthz", http.NoBody)
			r.RemoteAddr, r.Host = test.from, test.host
			if test.origin != "" {
				r.Header.Set("Origin", test.origin)
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != test.status || len(w.Header().Values("Access-Control-Allow-Origin")) > 0 {
				t.Errorf("it answers %d, %v: %s; want %d", w.Code, w.Header(), w.Body, test.status)
			}
		})
	}
}
