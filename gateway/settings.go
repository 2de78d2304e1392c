package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/dokkaa/dokkaa/internal/certificate"
	"github.com/dokkaa/dokkaa/internal/daemon"
)

// Settings are the settings of the gateway.
type Settings struct {
	daemon.Settings

	HostIP        string   `name:"host-ip" env:"HOST_IP" help:"Private address of this host."`
	GatewayAddrs  []string `name:"gateway-addr" env:"GATEWAY_ADDR" help:"Addresses to listen on; one that the host does not have yet is waited for. Default: port 4001 of --host-ip and of 127.0.0.1."`
	GatewayHosts  []string `name:"gateway-hosts" env:"GATEWAY_HOSTS" help:"Names that the gateway may be called by, besides localhost and any IP address."`
	ConductorAddr string   `name:"conductor-addr" env:"CONDUCTOR_ADDR" default:"127.0.0.1:4002" help:"Where the conductor of this host answers, for /v1."`
	Handover      string   `name:"handover" env:"HANDOVER" default:"dokkaa-gateway" hidden:"" help:"Gateways that listen at the same addresses take over from each other if they have the same name here; for tests."`
	EtcdAddrs     []string `name:"etcd-addr" env:"ETCD_ADDR" help:"Members of etcd, as host:port or URLs. Default: port 2379 of --host-ip."`

	TLSCert string `name:"tls-cert" env:"TLS_CERT" placeholder:"FILE" help:"Certificate to show to clients, and to other hosts' gateways. With it, only loopback is served without TLS, and who asks elsewhere needs a certificate with a role. The files are read again when they change."`
	TLSKey  string `name:"tls-key" env:"TLS_KEY" placeholder:"FILE" help:"Key of that certificate; it may be in the same file."`
	TLSCA   string `name:"tls-ca" env:"TLS_CA" placeholder:"FILE" help:"Authorities that vouch for clients and other gateways."`
	EtcdPem string `name:"etcd-tls-pem" env:"ETCD_TLSPEM" placeholder:"FILE" help:"Certificate to show to etcd."`
	EtcdKey string `name:"etcd-tls-key" env:"ETCD_TLSKEY" placeholder:"FILE" help:"Key of that certificate; it may be in the same file."`
	EtcdCA  string `name:"etcd-ca-cert" env:"ETCD_CACERT" placeholder:"FILE" help:"Authorities that vouch for etcd."`
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
	if files := s.files(); !files.None() {
		if err := files.Complete(); err != nil {
			return fmt.Errorf("--tls-cert, --tls-key, --tls-ca: %w", err)
		}
	}
	if files := s.etcdFiles(); !files.None() {
		if err := files.Complete(); err != nil {
			return fmt.Errorf("--etcd-tls-pem, --etcd-tls-key, --etcd-ca-cert: %w", err)
		}
	}
	_, err := s.members()
	return err
}

// files are those of the gateway's own certificate.
func (s *Settings) files() certificate.Files {
	return certificate.Files{Cert: s.TLSCert, Key: s.TLSKey, CA: s.TLSCA}
}

// etcdFiles are those of the certificate for etcd.
func (s *Settings) etcdFiles() certificate.Files {
	return certificate.Files{Cert: s.EtcdPem, Key: s.EtcdKey, CA: s.EtcdCA}
}

// certificates are what the files hold, nil where none are named.
func (s *Settings) certificates(log *slog.Logger) (own, etcd *certificate.Kept, err error) {
	if files := s.files(); !files.None() {
		if own, err = certificate.Read(files, log); err != nil {
			return nil, nil, err
		}
	}
	if files := s.etcdFiles(); !files.None() {
		if etcd, err = certificate.Read(files, log); err != nil {
			return nil, nil, fmt.Errorf("for etcd: %w", err)
		}
	}
	return own, etcd, nil
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

// post is the name by which gateways know each other that listen at the same addresses, "" if nobody
// is to take over.
func (s *Settings) post() string {
	if s.Handover == "" {
		return ""
	}
	return s.Handover + "/" + strings.Join(s.addrs(), ",")
}

// members are the URLs of the etcd members, without a path.
func (s *Settings) members() ([]*url.URL, error) {
	scheme := "http"
	if s.EtcdPem != "" {
		scheme = "https"
	}
	if len(s.EtcdAddrs) == 0 {
		return []*url.URL{{Scheme: scheme, Host: net.JoinHostPort(s.HostIP, "2379")}}, nil
	}
	var members []*url.URL
	for _, addr := range s.EtcdAddrs {
		if !strings.Contains(addr, "://") {
			addr = scheme + "://" + addr
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
