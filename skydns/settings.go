package skydns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/internal/daemon"
	"github.com/dokkaa/dokkaa/skydns/answer"
	"github.com/dokkaa/dokkaa/skydns/forward"
	"github.com/miekg/dns"
)

// Settings are the settings of the skydns daemon, with the environment variables of SkyDNS 2.
type Settings struct {
	daemon.Settings

	Machines    []string `name:"machines" env:"ETCD_MACHINES" default:"http://127.0.0.1:4001" help:"URLs of etcd, or of its gateways."`
	Addr        []string `name:"addr" env:"SKYDNS_ADDR" placeholder:"IP:PORT" help:"Addresses to listen on, over UDP and TCP. The name of a network interface in place of the address means the interface's address, as soon as there is one. Default: HOST_IP:53,dokkaa:53."`
	HostIP      string   `name:"host-ip" env:"HOST_IP" default:"127.0.0.1" help:"Address of the host, to listen on where --addr does not say."`
	Domain      string   `name:"domain" env:"SKYDNS_DOMAIN" default:"skydns.local." help:"Domain to answer for."`
	Nameservers []string `name:"nameservers" env:"SKYDNS_NAMESERVERS" placeholder:"IP:PORT" help:"Nameservers that other names are asked of. Default: those of /etc/resolv.conf."`
	NoRec       bool     `name:"no-rec" env:"SKYDNS_NO_REC" help:"Never ask other nameservers."`
	PathPrefix  string   `name:"path-prefix" env:"SKYDNS_PATH_PREFIX" default:"skydns" help:"Directory of the records in etcd."`
	TTL         uint32   `name:"ttl" env:"DNS_TTL" default:"3600" help:"Seconds that a record without a TTL may be cached."`
	MinTTL      uint32   `name:"min-ttl" env:"DNS_MIN_TTL" default:"60" help:"Seconds that a negative answer may be cached."`
	Priority    uint16   `name:"priority" env:"DNS_PRIORITY" default:"10" help:"SRV priority of a record without one."`
}

// Bridge is the interface of the containers' network, which the conductor makes.
const Bridge = "dokkaa"

const (
	resolvConf      = "/etc/resolv.conf"
	upstreamTimeout = 2 * time.Second
)

// Validate refuses settings that cannot work. The command line's parser calls it.
func (s *Settings) Validate() error {
	_, err := s.config()
	return err
}

// config is what the settings mean.
func (s *Settings) config() (Config, error) {
	c := Config{
		Answer: answer.Config{
			Domain:     dns.CanonicalName(s.Domain),
			Hostmaster: "hostmaster." + dns.CanonicalName(s.Domain),
			Version:    daemon.Version(),
			TTL:        s.TTL,
			MinTTL:     s.MinTTL,
			OutsideTTL: 60,
			Priority:   s.Priority,
			MinLabels:  2,
			Shuffle:    true,
		},
		PathPrefix: strings.Trim(s.PathPrefix, "/"),
		Timeout:    upstreamTimeout,
		Cache:      forward.DefaultCache(),
		MaxStale:   24 * time.Hour,
	}
	if _, legal := dns.IsDomainName(c.Answer.Domain); !legal || c.Answer.Domain == "." {
		return c, fmt.Errorf("domain %q is not a domain name", s.Domain)
	}
	if c.PathPrefix == "" {
		return c, errors.New("the path prefix is empty")
	}
	addrs := s.Addr
	if len(addrs) == 0 {
		addrs = []string{net.JoinHostPort(s.HostIP, "53"), net.JoinHostPort(Bridge, "53")}
	}
	for _, addr := range addrs {
		endpoint, err := ParseEndpoint(addr)
		if err != nil {
			return c, err
		}
		c.Listen = append(c.Listen, endpoint)
	}
	if s.NoRec {
		return c, nil
	}
	for _, addr := range s.Nameservers {
		nameserver, err := netip.ParseAddrPort(addr)
		if err != nil {
			return c, fmt.Errorf("nameserver %q is not an address and a port", addr)
		}
		c.Nameservers = append(c.Nameservers, nameserver)
	}
	if len(s.Nameservers) == 0 {
		c.Nameservers = systemNameservers(resolvConf)
	}
	return c, nil
}

// systemNameservers are the nameservers of the file, none if it cannot be read.
func systemNameservers(file string) []netip.AddrPort {
	system, err := dns.ClientConfigFromFile(file)
	if err != nil {
		return nil
	}
	var nameservers []netip.AddrPort
	for _, server := range system.Servers {
		if addr, err := netip.ParseAddr(server); err == nil {
			nameservers = append(nameservers, netip.AddrPortFrom(addr, 53))
		}
	}
	return nameservers
}
