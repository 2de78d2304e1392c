package conductor

import (
	"log/slog"
	"maps"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dokkaa/dokkaa/internal/daemon"
)

// good are settings that a conductor can be made of.
func good() Settings {
	return Settings{HostIP: hostA, DockerHost: "unix:///nowhere.sock", EtcdAddr: []string{"127.0.0.1:1"}, PortRange: "10000:10100"}
}

func TestSettings(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Settings)
		wrong  string // variable that the error names, "" for none
	}{
		"as they are":                {change: func(*Settings) {}},
		"a name as address":          {func(s *Settings) { s.HostIP = "host1" }, "HOST_IP"},
		"no host's address":          {func(s *Settings) { s.HostIP = "0.0.0.0" }, "HOST_IP"},
		"a multicast address":        {func(s *Settings) { s.HostIP = "224.0.0.1" }, "HOST_IP"},
		"IPv6":                       {func(s *Settings) { s.HostIP = "fd00::1" }, "HOST_IP"},
		"a public address":           {change: func(s *Settings) { s.PublicIP = "203.0.113.1" }},
		"a name as public address":   {func(s *Settings) { s.PublicIP = "www.example.com" }, "PUBLIC_IP"},
		"labels":                     {change: func(s *Settings) { s.HostLabels = "zone=a, disk=ssd,empty=" }},
		"label without value":        {func(s *Settings) { s.HostLabels = "zone=a,disk" }, "HOST_LABELS"},
		"label without key":          {func(s *Settings) { s.HostLabels = "=a" }, "HOST_LABELS"},
		"label given twice":          {func(s *Settings) { s.HostLabels = "zone=a,zone=b" }, "HOST_LABELS"},
		"one port":                   {func(s *Settings) { s.PortRange = "10000" }, "PORT_RANGE"},
		"ports in the wrong order":   {func(s *Settings) { s.PortRange = "10100:10000" }, "PORT_RANGE"},
		"port 0":                     {func(s *Settings) { s.PortRange = "0:10" }, "PORT_RANGE"},
		"port too high":              {func(s *Settings) { s.PortRange = "10000:70000" }, "PORT_RANGE"},
		"something behind the ports": {func(s *Settings) { s.PortRange = "10000:10100:10200" }, "PORT_RANGE"},
		"no port range":              {func(s *Settings) { s.PortRange = "" }, "PORT_RANGE"},
		"etcd without port":          {func(s *Settings) { s.EtcdAddr = []string{"10.0.0.1"} }, "ETCD_ADDR"},
		"no etcd":                    {func(s *Settings) { s.EtcdAddr = nil }, "ETCD_ADDR"},
		"Docker by HTTPS":            {func(s *Settings) { s.DockerHost = "https://10.0.0.1" }, "DOCKER_HOST"},
		"the firewall alone":         {change: func(s *Settings) { s.Firewall = true }},
		"the firewall without ports": {func(s *Settings) { s.Firewall, s.PortRange = true, "x" }, "PORT_RANGE"},
	} {
		t.Run(name, func(t *testing.T) {
			settings := good()
			test.change(&settings)
			_, err := New(settings, daemon.Env{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
			switch {
			case test.wrong == "" && err != nil:
				t.Error(err)
			case test.wrong != "" && err == nil:
				t.Error("accepted")
			case test.wrong != "" && !strings.Contains(err.Error(), test.wrong):
				t.Errorf("the error does not name %s: %v", test.wrong, err)
			}
		})
	}
}

// TestAddressIsFoundOut needs no network: without one the conductor says what it lacks.
func TestAddressIsFoundOut(t *testing.T) {
	settings := good()
	settings.HostIP = ""
	err := settings.validate()
	if err == nil && settings.HostIP == "" || err != nil && !strings.Contains(err.Error(), "HOST_IP") {
		t.Errorf("address %q, %v", settings.HostIP, err)
	}
}

func TestLabels(t *testing.T) {
	settings := Settings{HostLabels: " zone=a , ,disk=ssd=fast,empty="}
	got, err := settings.labels()
	if want := map[string]string{"zone": "a", "disk": "ssd=fast", "empty": ""}; err != nil || !maps.Equal(got, want) {
		t.Errorf("labels %v, %v, want %v", got, err, want)
	}
}
