package dokkaacfg

import (
	"context"
	"errors"
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
// does not reach it. Other addresses of their network are reached from any of them then.
func dialTo(hosts []Host) dialFunc {
	there := map[netip.Addr]throughSSH{}
	var all []throughSSH
	for _, host := range hosts {
		if h, ok := host.(throughSSH); ok {
			there[host.IP()] = h
			all = append(all, h)
		}
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if to, err := netip.ParseAddrPort(addr); err == nil && there[to.Addr()] != nil {
			return there[to.Addr()].dialThere(ctx, network, addr)
		}
		if len(all) > 0 {
			return dialFromAny(ctx, all, network, addr)
		}
		return (&net.Dialer{Timeout: elsewhereTimeout}).DialContext(ctx, network, addr)
	}
}

// elsewhereTimeout is how long an address may take to answer that is no host's of ours.
const elsewhereTimeout = 2 * time.Second

// dialFromAny connects from the first of the hosts that can.
func dialFromAny(ctx context.Context, hosts []throughSSH, network, addr string) (net.Conn, error) {
	var failures []error
	for _, host := range hosts {
		limited, cancel := context.WithTimeout(ctx, elsewhereTimeout)
		conn, err := host.dialThere(limited, network, addr)
		cancel() // it is about the dial only
		if err == nil {
			return conn, nil
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failures...)
}

// engineOf is the host's Docker Engine.
func engineOf(host Host, log *slog.Logger) (*docker.Engine, error) {
	if h, ok := host.(throughSSH); ok {
		return docker.NewThrough(host.DockerHost(), h.dialThere, log), nil
	}
	return docker.New(host.DockerHost(), log)
}
