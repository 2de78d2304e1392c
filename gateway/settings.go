package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/dokkaa/dokkaa/internal/daemon"
)

// Settings are the settings of the gateway.
type Settings struct {
	daemon.Settings

	HostIP        string   `name:"host-ip" env:"HOST_IP" help:"Private address of this host."`
	GatewayAddrs  []string `name:"gateway-addr" env:"GATEWAY_ADDR" help:"Addresses to listen on; one that the host does not have yet is waited for. Default: port 4001 of --host-ip and of 127.0.0.1."`
	GatewayHosts  []string `name:"gateway-hosts" env:"GATEWAY_HOSTS" help:"Names that the gateway may be called by, besides localhost and any IP address."`
	ConductorAddr string   `name:"conductor-addr" env:"CONDUCTOR_ADDR" default:"127.0.0.1:4002" help:"Where the conductor of this host answers, for /v1."`
	EtcdAddrs     []string `name:"etcd-addr" env:"ETCD_ADDR" help:"Members of etcd, as host:port or URLs. Default: port 2379 of --host-ip."`
}

// Validate says what is wrong with the settings.
func (s *Settings) Validate() error {
	if s.HostIP != "" {
		if _, err := netip.ParseAddr(s.HostIP); err != nil {
			return fmt.Errorf("--host-ip: %w", err)
		}
	}
	if s.HostIP == "" && len(s.EtcdAddrs) == 0 {
		return errors.New("--host-ip or --etcd-addr: one of them is needed to find etcd")
	}
	for _, addr := range s.GatewayAddrs {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("--gateway-addr: %w", err)
		}
	}
	_, err := s.members()
	return err
}

// addrs are the addresses to listen on.
func (s *Settings) addrs() []string {
	if len(s.GatewayAddrs) > 0 {
		return s.GatewayAddrs
	}
	addrs := []string{"127.0.0.1:4001"}
	if s.HostIP != "" {
		addrs = append(addrs, net.JoinHostPort(s.HostIP, "4001"))
	}
	slices.Sort(addrs)
	return slices.Compact(addrs)
}

// members are the URLs of the etcd members, without a path.
func (s *Settings) members() ([]*url.URL, error) {
	if len(s.EtcdAddrs) == 0 {
		return []*url.URL{{Scheme: "http", Host: net.JoinHostPort(s.HostIP, "2379")}}, nil
	}
	var members []*url.URL
	for _, addr := range s.EtcdAddrs {
		if !strings.Contains(addr, "://") {
			addr = "http://" + addr
		}
		u, err := url.Parse(addr)
		if err != nil {
			return nil, fmt.Errorf("--etcd-addr: %w", err)
		}
		if u.Scheme != "http" && u.Scheme != "https" || u.Port() == "" || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("--etcd-addr: %q is no host:port and no URL of one", addr)
		}
		members = append(members, &url.URL{Scheme: u.Scheme, Host: u.Host})
	}
	return members, nil
}
