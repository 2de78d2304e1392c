package skydns

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/internal/certificate"
	"github.com/dokkaa/dokkaa/internal/daemon"
	"github.com/dokkaa/dokkaa/internal/handover"
	"github.com/dokkaa/dokkaa/skydns/answer"
	"github.com/dokkaa/dokkaa/skydns/forward"
	"github.com/dokkaa/dokkaa/skydns/limit"
	"github.com/miekg/dns"
)

// Config is what a Server is told; Settings say what the fields mean.
type Config struct {
	Answer      answer.Config
	PathPrefix  string // no slash at its ends
	Listen      []Endpoint
	ListenTLS   []Endpoint // for DNS over TLS, with the certificate in the files
	CertFile    string
	KeyFile     string
	Passed      []*os.File           // sockets that systemd opened
	Sockets     *handover.Sockets    // to hand over to another process; nil: there is none
	Nameservers []netip.AddrPort     // none: never ask others
	Rotate      bool                 // do not always begin with the first nameserver
	Timeout     time.Duration        // of one question to a nameserver
	Cache       forward.CacheOptions // none: nothing is kept
	StubZones   bool                 // ask the servers of the zones below dns/stub for those
	MaxStale    time.Duration        // how long the records outlive the store
	Recursion   limit.Networks       // of the clients that may ask for foreign names
	Limit       limit.Options        // of replies
	LogEvery    int                  // one in so many queries is logged; 0: none

	MetricsNamespace, MetricsSubsystem string // of SkyDNS's metrics
}

const resolvConf = "/etc/resolv.conf"

// withDefaults are the settings with what follows from others, or from the system, filled in.
func (s Settings) withDefaults() Settings {
	if len(s.Addr) == 0 {
		s.Addr = []string{net.JoinHostPort(s.HostIP, "53"), net.JoinHostPort(Bridge, "53")}
	}
	if s.Hostmaster == "" {
		s.Hostmaster = "hostmaster@" + s.Domain
	}
	if len(s.Nameservers) == 0 && !s.NoRec {
		for _, addr := range systemNameservers(resolvConf) {
			s.Nameservers = append(s.Nameservers, addr.String())
		}
	}
	// What SkyDNS takes for "not set".
	for _, d := range []struct {
		value *int
		want  int
	}{{&s.Ndots, 2}, {&s.RCacheTTL, 60}} {
		if *d.value <= 0 {
			*d.value = d.want
		}
	}
	if s.RTimeout <= 0 {
		s.RTimeout = 2 * time.Second
	}
	if s.TTL == 0 {
		s.TTL = 3600
	}
	if s.MinTTL == 0 {
		s.MinTTL = 60
	}
	if s.Priority == 0 {
		s.Priority = 10
	}
	return s
}

// config is what the settings mean.
func (s *Settings) config() (Config, error) {
	if err := s.refuse(); err != nil {
		return Config{}, err
	}
	e := s.withDefaults()
	c := Config{
		Answer: answer.Config{
			Domain:     dns.CanonicalName(e.Domain),
			Hostmaster: mailbox(e.Hostmaster),
			Version:    daemon.Version(),
			TTL:        e.TTL,
			MinTTL:     e.MinTTL,
			OutsideTTL: uint32(e.RCacheTTL),
			Priority:   e.Priority,
			MinLabels:  e.Ndots,
			Shuffle:    e.RoundRobin,
		},
		PathPrefix: strings.Trim(e.PathPrefix, "/"),
		Rotate:     e.NSRotate,
		Timeout:    e.RTimeout,
		StubZones:  e.StubZones,
		MaxStale:   e.MaxStale,
	}
	if err := e.limits(&c); err != nil {
		return c, err
	}
	if e.Local != "" {
		c.Answer.Local = dns.CanonicalName(e.Local)
	}
	c.Cache = forward.DefaultCache()
	c.Cache.Entries = max(0, e.Cache)
	if e.RCache > 0 {
		c.Cache.Entries, c.Cache.MaxTTL = e.RCache, time.Duration(e.RCacheTTL)*time.Second
	}
	if c.PathPrefix == "" {
		return c, errors.New("the path prefix is empty")
	}
	for setting, name := range map[string]string{"domain": c.Answer.Domain, "hostmaster": c.Answer.Hostmaster, "local": c.Answer.Local} {
		if _, legal := dns.IsDomainName(name); !legal || name == "." {
			if name != "" || setting != "local" {
				return c, fmt.Errorf("%s: %q is not a domain name", setting, name)
			}
		}
	}
	var err error
	if !e.Systemd {
		if c.Listen, err = parseEndpoints(e.Addr); err != nil {
			return c, err
		}
	}
	if c.ListenTLS, err = parseEndpoints(e.DoTAddr); err != nil {
		return c, err
	}
	if c.CertFile, c.KeyFile = e.DoTCert, e.DoTKey; len(c.ListenTLS) > 0 && (c.CertFile == "" || c.KeyFile == "") {
		return c, errors.New("dot-addr needs dot-cert and dot-key")
	}
	if e.NoRec {
		c.Recursion = nil // for nobody
		return c, nil
	}
	for _, addr := range e.Nameservers {
		nameserver, err := netip.ParseAddrPort(addr)
		if err != nil {
			return c, fmt.Errorf("nameserver %q is not an address and a port", addr)
		}
		c.Nameservers = append(c.Nameservers, nameserver)
	}
	return c, nil
}

// limits fills in whom the config bounds.
func (s *Settings) limits(c *Config) (err error) {
	if c.Recursion, err = limit.ParseNetworks(s.Recursion); err != nil {
		return fmt.Errorf("recursion: %w", err)
	}
	c.Limit = limit.Options{Rate: s.RateLimit, Slip: s.RateSlip, Exempt: c.Recursion}
	if len(s.RateExempt) > 0 {
		if c.Limit.Exempt, err = limit.ParseNetworks(s.RateExempt); err != nil {
			return fmt.Errorf("rate-exempt: %w", err)
		}
	}
	c.LogEvery = max(0, s.QueryLog)
	if s.Verbose {
		c.LogEvery = 1
	}
	c.MetricsNamespace, c.MetricsSubsystem = s.PrometheusNamespace, s.PrometheusSubsystem
	return nil
}

// refuse names the settings of SkyDNS that somebody relies on and that do not exist here.
func (s *Settings) refuse() error {
	for _, r := range []struct {
		setting string
		used    bool
		why     string
	}{
		{"dnssec", s.DNSSEC != "", "answers are not signed"},
		{"etcd3", s.Etcd3, "the records are those of etcd's v2 keys"},
	} {
		if r.used {
			return fmt.Errorf("setting %s is not supported: %s", r.setting, r.why)
		}
	}
	return nil
}

// mailbox is a mail address, or already a name, as the name that an SOA has for it.
func mailbox(address string) string {
	return dns.CanonicalName(strings.Replace(address, "@", ".", 1))
}

// tls is how to talk to etcd, nil if no file says. Files that change are read again.
func (s *Settings) tls(log *slog.Logger) (func() *tls.Config, error) {
	files := certificate.Files{Cert: s.TLSPem, Key: s.TLSKey, CA: s.CACert}
	if files.None() {
		return nil, nil
	}
	kept, err := certificate.Read(files, log)
	if err != nil {
		return nil, fmt.Errorf("tls-pem, tls-key, ca-cert: %w", err)
	}
	return kept.Client, nil
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
			nameservers = append(nameservers, netip.AddrPortFrom(addr, dnsPort))
		}
	}
	return nameservers
}
