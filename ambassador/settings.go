package ambassador

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/internal/daemon"
)

// Settings are the settings of the ambassador.
type Settings struct {
	daemon.Settings

	DockerHost                 string        `name:"docker-host" env:"DOCKER_HOST" default:"unix:///var/run/docker.sock" help:"Docker Engine of this host."`
	PortRange                  PortRange     `name:"port-range" env:"PORT_RANGE" default:"10000:10100" help:"Ports to listen on when a link names them, from:to, both included."`
	DNSAddr                    string        `name:"dns-addr" env:"DNS_ADDR" help:"Name server that knows the services, host[:port]. Default: port 53 of the address listened on."`
	Interface                  string        `name:"interface" env:"INTERFACE" default:"dokkaa" help:"Network interface on whose addresses to listen; it may appear later."`
	ListenAddr                 string        `name:"listen-addr" env:"LISTEN_ADDR" help:"IP address to listen on, instead of the interface's."`
	MaxConnections             int           `name:"max-connections" env:"MAX_CONNECTIONS" default:"10000" help:"Connections open at a time; further ones are refused."`
	MaxConnectionsPerContainer int           `name:"max-connections-per-container" env:"MAX_CONNECTIONS_PER_CONTAINER" default:"1000" help:"Those of one container; further ones of it are refused."`
	IdleTimeout                time.Duration `name:"idle-timeout" env:"IDLE_TIMEOUT" default:"0" help:"End a connection that carried nothing for so long; 0: never, a dead peer is noticed by keep-alive."`
	Handover                   string        `name:"handover" env:"HANDOVER" default:"dokkaa-ambassador" hidden:"" help:"Ambassadors that listen at the same place take over from each other if they have the same name here; for tests."`
	UDPTimeout                 time.Duration `name:"udp-timeout" env:"UDP_TIMEOUT" default:"60s" help:"Forget a flow of datagrams that carried nothing for so long."`
	MaxFlows                   int           `name:"max-flows" env:"MAX_FLOWS" default:"10000" help:"Flows of datagrams at a time, one for each address and port of a container; a further one takes the place of the quietest."`
	MaxFlowsPerContainer       int           `name:"max-flows-per-container" env:"MAX_FLOWS_PER_CONTAINER" default:"1000" help:"Those of one container."`
	Relay                      string        `name:"relay" env:"AMBASSADOR_RELAY" default:"" enum:",plain" hidden:"" help:"How bytes are carried; for tests, and to measure."`
	Mode                       string        `name:"mode" env:"AMBASSADOR_MODE" default:"proxy" enum:"proxy,kernel,auto" help:"Who connects containers: the ambassador itself (proxy), or the kernel what it can (kernel; needs CAP_NET_ADMIN, auto: if it is granted)."`
	AccessLog                  float64       `name:"access-log" env:"ACCESS_LOG" default:"0" help:"Share of connections that get a line in the log when they end, 0 to 1."`
	MaxStale                   time.Duration `name:"max-stale" env:"MAX_STALE" default:"1h" help:"How long the last answer serves while the name server gives none; 0: not at all."`
	SlowStart                  time.Duration `name:"slow-start" env:"SLOW_START" default:"10s" help:"In this time the share of an instance that joins others grows to its full size; 0: at once."`
	DrainTimeout               time.Duration `name:"drain-timeout" env:"DRAIN_TIMEOUT" default:"8s" help:"How long open connections may go on after SIGTERM."`
}

// plainRelay is the simple form of the relay, in place of the one that suits the system.
const plainRelay = "plain"

// Modes of the ambassador other than to connect everything itself.
const (
	modeKernel = "kernel"
	modeAuto   = "auto" // kernel, but without if it has to be
)

// Validate says what is wrong with the settings.
func (s *Settings) Validate() error {
	if s.ListenAddr != "" {
		if _, err := netip.ParseAddr(s.ListenAddr); err != nil {
			return fmt.Errorf("--listen-addr: %w", err)
		}
	}
	if s.MaxConnections < 1 {
		return fmt.Errorf("--max-connections: %d is less than 1", s.MaxConnections)
	}
	if s.MaxConnectionsPerContainer < 1 {
		return fmt.Errorf("--max-connections-per-container: %d is less than 1", s.MaxConnectionsPerContainer)
	}
	if s.MaxFlows < 1 || s.MaxFlowsPerContainer < 1 || s.UDPTimeout <= 0 {
		return fmt.Errorf("--max-flows, --max-flows-per-container, --udp-timeout: must be more than 0")
	}
	if !(s.AccessLog >= 0 && s.AccessLog <= 1) {
		return fmt.Errorf("--access-log: %v is not between 0 and 1", s.AccessLog)
	}
	if s.IdleTimeout < 0 || s.DrainTimeout < 0 || s.MaxStale < 0 || s.SlowStart < 0 {
		return fmt.Errorf("--idle-timeout, --drain-timeout, --max-stale, --slow-start: must not be negative")
	}
	return nil
}

// listenOn tells which addresses to listen on now.
func (s *Settings) listenOn() func() ([]netip.Addr, error) {
	if s.ListenAddr == "" {
		return func() ([]netip.Addr, error) { return interfaceAddrs(s.Interface) }
	}
	return func() ([]netip.Addr, error) {
		addr, err := netip.ParseAddr(s.ListenAddr)
		return []netip.Addr{addr.Unmap()}, err
	}
}

// post is the name by which ambassadors know each other that listen at the same place, "" if nobody
// is to take over.
func (s *Settings) post() string {
	if s.Handover == "" {
		return ""
	}
	return s.Handover + "/" + cmp.Or(s.ListenAddr, s.Interface)
}

// nameServer is the address of the name server, given the address listened on.
func (s *Settings) nameServer(bound netip.Addr) (string, error) {
	if s.DNSAddr == "" {
		if !bound.IsValid() {
			return "", fmt.Errorf("name server is unknown while there is no interface %s", s.Interface)
		}
		return netip.AddrPortFrom(bound, 53).String(), nil
	}
	if _, _, err := net.SplitHostPort(s.DNSAddr); err == nil {
		return s.DNSAddr, nil
	}
	return net.JoinHostPort(strings.Trim(s.DNSAddr, "[]"), "53"), nil
}

// PortRange is a range of ports, both ends included.
type PortRange struct{ From, To int }

// UnmarshalText reads "from:to".
func (p *PortRange) UnmarshalText(text []byte) error {
	from, to, ok := strings.Cut(string(text), ":")
	var err error
	if ok {
		if p.From, err = strconv.Atoi(from); err == nil {
			p.To, err = strconv.Atoi(to)
		}
	}
	if !ok || err != nil || p.From < 1 || p.To < p.From || p.To > 65535 {
		return fmt.Errorf("%q is no port range such as 10000:10100", text)
	}
	return nil
}

// has says whether the port is in the range.
func (p PortRange) has(port int) bool { return p.From <= port && port <= p.To }

func (p PortRange) String() string { return fmt.Sprintf("%d:%d", p.From, p.To) }
