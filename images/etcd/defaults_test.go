package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func lookupIn(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	host := map[string]string{"HOST_IP": "10.0.0.1"}
	tests := []struct {
		name string
		env  map[string]string
		args []string
		want map[string]string // "" = left alone
	}{
		{"the v2 keys API is on", nil, nil, map[string]string{"ETCD_ENABLE_V2": "true", "ETCD_DATA_DIR": "/var/lib/etcd"}},
		{"without a host, etcd's own addresses", nil, nil, map[string]string{"ETCD_NAME": "", "ETCD_LISTEN_CLIENT_URLS": "", "ETCD_HOST_WHITELIST": ""}},
		{"one member on the host", host, nil, map[string]string{
			"ETCD_NAME":                        "10.0.0.1",
			"ETCD_LISTEN_CLIENT_URLS":          "http://10.0.0.1:2379",
			"ETCD_ADVERTISE_CLIENT_URLS":       "http://10.0.0.1:2379",
			"ETCD_LISTEN_PEER_URLS":            "http://10.0.0.1:2380",
			"ETCD_INITIAL_ADVERTISE_PEER_URLS": "http://10.0.0.1:2380",
			"ETCD_INITIAL_CLUSTER":             "10.0.0.1=http://10.0.0.1:2380",
		}},
		{"closed to foreign names and origins", host, nil, map[string]string{
			"ETCD_HOST_WHITELIST": "10.0.0.1", "ETCD_CORS": "http://10.0.0.1:2379"}},
		{"an IPv6 host", map[string]string{"HOST_IP": "fd00::1"}, nil, map[string]string{
			"ETCD_LISTEN_CLIENT_URLS": "http://[fd00::1]:2379", "ETCD_HOST_WHITELIST": "fd00::1"}},
		{"with certificates", map[string]string{"HOST_IP": "10.0.0.1", "ETCD_CERT_FILE": "/c", "ETCD_PEER_CERT_FILE": "/c"}, nil, map[string]string{
			"ETCD_LISTEN_CLIENT_URLS": "https://10.0.0.1:2379", "ETCD_LISTEN_PEER_URLS": "https://10.0.0.1:2380",
			"ETCD_INITIAL_CLUSTER": "10.0.0.1=https://10.0.0.1:2380"}},
		{"a variable beats a default", map[string]string{"HOST_IP": "10.0.0.1", "ETCD_ENABLE_V2": "false"}, nil, map[string]string{"ETCD_ENABLE_V2": ""}},
		{"an empty variable too", map[string]string{"ETCD_DATA_DIR": ""}, nil, map[string]string{"ETCD_DATA_DIR": ""}},
		{"a flag beats a default", host, []string{"--data-dir", "/d"}, map[string]string{"ETCD_DATA_DIR": "", "ETCD_ENABLE_V2": "true"}},
		{"a flag with one dash and a value", host, []string{"-name=x"}, map[string]string{"ETCD_NAME": ""}},
		{"an argument is no flag", host, []string{"--log-outputs", "name"}, map[string]string{"ETCD_NAME": "10.0.0.1"}},
		{"the initial cluster has the user's name and address", map[string]string{
			"HOST_IP": "10.0.0.1", "ETCD_NAME": "a", "ETCD_INITIAL_ADVERTISE_PEER_URLS": "http://x:1,http://y:1"}, nil,
			map[string]string{"ETCD_INITIAL_CLUSTER": "a=http://x:1,a=http://y:1"}},
		{"by flag too", host, []string{"--name", "a"}, map[string]string{"ETCD_INITIAL_CLUSTER": "a=http://10.0.0.1:2380"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := map[string]string{}
			for _, s := range defaults(tt.args, lookupIn(tt.env)) {
				got[s.name] = s.value
			}
			for name, want := range tt.want {
				if got[name] != want {
					t.Errorf("%s is %q, want %q", name, got[name], want)
				}
			}
		})
	}
}

func TestHealthURL(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		env  map[string]string
		want string
	}{
		{"nothing set", nil, "http://127.0.0.1:2379/health"},
		{"client URLs", map[string]string{"ETCD_LISTEN_CLIENT_URLS": "http://10.0.0.1:2379,http://127.0.0.1:2379"}, "http://10.0.0.1:2379/health"},
		{"all addresses", map[string]string{"ETCD_LISTEN_CLIENT_URLS": "http://0.0.0.0:2379"}, "http://127.0.0.1:2379/health"},
		{"metrics first", map[string]string{"ETCD_LISTEN_METRICS_URLS": "http://127.0.0.1:2381", "ETCD_LISTEN_CLIENT_URLS": "https://10.0.0.1:2379"}, "http://127.0.0.1:2381/health"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := healthURL(func(name string) string { return tt.env[name] }); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestCheckHealth(t *testing.T) {
	t.Parallel()
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"health":"false","reason":"RAFT NO LEADER"}`, status)
	}))
	defer server.Close()
	none := func(string) string { return "" }
	if err := checkHealth(t.Context(), server.URL, none); err != nil {
		t.Errorf("healthy server: %v", err)
	}
	status = http.StatusServiceUnavailable
	if err := checkHealth(t.Context(), server.URL, none); err == nil || !strings.Contains(err.Error(), "RAFT NO LEADER") {
		t.Errorf("sick server: %v", err)
	}
	server.Close()
	if err := checkHealth(t.Context(), server.URL, none); err == nil {
		t.Error("no server: no error")
	}
}
