package dokkaacfg

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/dokkaa/dokkaa/internal/docker"
)

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// throughSSH is a host whose addresses and Docker Engine are reached from itself only.
type throughSSH interface {
	dialThere(ctx context.Context, network, addr string) (net.Conn, error)
}

// dialTo returns what connects to addresses of the hosts: from the host itself, where this machine
// does not reach it.
func dialTo(hosts []Host) dialFunc {
	there := map[netip.Addr]throughSSH{}
	for _, host := range hosts {
		if h, ok := host.(throughSSH); ok {
			there[host.IP()] = h
		}
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if to, err := netip.ParseAddrPort(addr); err == nil && there[to.Addr()] != nil {
			return there[to.Addr()].dialThere(ctx, network, addr)
		}
		return (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, network, addr)
	}
}

// engineOf is the host's Docker Engine.
func engineOf(host Host, log *slog.Logger) (*docker.Engine, error) {
	if h, ok := host.(throughSSH); ok {
		return docker.NewThrough(host.DockerHost(), h.dialThere, log), nil
	}
	return docker.New(host.DockerHost(), log)
}
