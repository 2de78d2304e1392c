package conductor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	dnsconfig "github.com/miekg/dns"

	"github.com/dokkaa/dokkaa/conductor/agent"
	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/conductor/hostapi"
	"github.com/dokkaa/dokkaa/internal/docker"
)

// machine is what a conductor needs of the host that it runs on: Docker, and the containers'
// network. Tests put one in memory in its place.
type machine struct {
	engine agent.Engine
	api    hostapi.Engine // for the host's API
	// clusters returns the ids of all clusters that containers here are labelled with, with
	// how many there are of each.
	clusters func(ctx context.Context) (map[string]int, error)
	// prepare makes the host fit for containers, and does nothing if it is.
	prepare func(ctx context.Context) error
	// connections counts those that are open to a container.
	connections agent.Connections
	// capacity is what the host has for containers; nil: nobody knows.
	capacity func() (cpus float64, memory int64)
	// disk is how full its disk is; nil: nobody knows.
	disk func() (usage, error)
	// watch calls changed after each change of a container, or echo where that most likely is the
	// agent's own doing, until ctx ends.
	watch func(ctx context.Context, changed, echo func()) error
}

// containerEvents are Docker's events after which its list of containers is another. Those of
// networks tell that a container was put on one, or taken off.
var containerEvents = url.Values{"type": {"container", "network"},
	"event": {"create", "start", "die", "destroy", "rename", "pause", "unpause", "oom", "connect", "disconnect",
		"health_status"}}

// echoes are those that a start by the agent leads to.
var echoes = map[string]bool{"create": true, "connect": true, "start": true}

// newMachine is the machine of the Docker Engine that the settings name. It does no I/O.
func newMachine(settings Settings, cluster func() string, log *slog.Logger) (machine, error) {
	dockerEngine, err := docker.New(settings.DockerHost, log.With("component", "docker"))
	if err != nil {
		return machine{}, fmt.Errorf("DOCKER_HOST: %w", err)
	}
	e := engine.New(engine.Options{Docker: dockerEngine, Cluster: cluster, HostIP: settings.HostIP, PublicIP: settings.PublicIP,
		Nameservers: nameservers(), Log: log.With("component", "engine")})
	return machine{
		engine:   e,
		api:      e,
		clusters: e.Clusters,
		capacity: capacity,
		disk:     rootUsage,
		prepare: func(ctx context.Context) error {
			return errors.Join(e.EnsureNetwork(ctx), ensureFirewall(ctx, e, settings))
		},
		connections: func(ctx context.Context, addr netip.Addr, ports []int) (int, error) {
			return askConnections(ctx, firewallHTTPAddr, addr, ports)
		},
		watch: func(ctx context.Context, changed, echo func()) error {
			return dockerEngine.Watch(ctx, containerEvents, func(e docker.Event) {
				switch {
				case e.Type == "container" && e.Attributes[engine.LabelCluster] == "": // not in the list
				case echoes[e.Action]:
					echo()
				default:
					changed()
				}
			})
		},
	}, nil
}

// ensureFirewall has the firewall kept by a container that may: ours is started without
// CAP_NET_ADMIN, and needs it for nothing else.
func ensureFirewall(ctx context.Context, e *engine.Engine, settings Settings) error {
	env := []string{"HOST_IP=" + settings.HostIP, "ETCD_ADDR=" + strings.Join(settings.EtcdAddr, ","),
		"PORT_RANGE=" + settings.PortRange, "HTTP_ADDR=" + firewallHTTPAddr,
		"GOGC=50"} // it does little: less memory for hardly any time
	files := []string{settings.TLSPem, settings.TLSKey, settings.CACert}
	if settings.TLSPem != "" {
		env = append(env, "ETCD_TLSPEM="+settings.TLSPem, "ETCD_TLSKEY="+settings.TLSKey, "ETCD_CACERT="+settings.CACert)
	}
	err := e.EnsureHelper(ctx, engine.Helper{Name: "dokkaa-firewall", Args: []string{"--firewall"}, CapAdd: []string{"NET_ADMIN"},
		Env: env, Files: files})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+firewallHTTPAddr+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask the firewall: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New("the firewall is not in place")
	}
	return nil
}

// nameservers are the host's own, which containers ask when ours does not answer. One on a
// loopback address cannot be reached from a container.
func nameservers() []string {
	config, err := dnsconfig.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil {
		return nil
	}
	var servers []string
	for _, server := range config.Servers {
		if addr, err := netip.ParseAddr(server); err == nil && !addr.IsLoopback() && len(servers) < 2 {
			servers = append(servers, server)
		}
	}
	return servers
}
