package conductor

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/dokkaa/dokkaa/internal/certificate"
	"github.com/dokkaa/dokkaa/internal/daemon"
)

// Settings are the conductor's settings.
type Settings struct {
	daemon.Settings
	HostIP        string   `name:"host-ip" env:"HOST_IP" help:"Address of this host that the others reach it at. Default: the address of the default route's interface."`
	PublicIP      string   `name:"public-ip" env:"PUBLIC_IP" help:"Address of this host where host_ports are published beside HOST_IP. Default: all its addresses."`
	DockerHost    string   `name:"docker-host" env:"DOCKER_HOST" default:"unix:///var/run/docker.sock" help:"Docker Engine of this host."`
	EtcdAddr      []string `name:"etcd-addr" env:"ETCD_ADDR" default:"http://127.0.0.1:4001" help:"Where etcd's keys are, host:port or URLs, the preferred first; the host's own gateway."`
	TLSPem        string   `name:"tls-pem" env:"ETCD_TLSPEM" placeholder:"FILE" help:"Certificate to show to etcd, or to its gateways on other hosts. The files are read again when they change."`
	TLSKey        string   `name:"tls-key" env:"ETCD_TLSKEY" placeholder:"FILE" help:"Key of that certificate; it may be in the same file."`
	CACert        string   `name:"ca-cert" env:"ETCD_CACERT" placeholder:"FILE" help:"Authorities that vouch for etcd or its gateways."`
	HostLabels    string   `name:"host-labels" env:"HOST_LABELS" help:"Labels of this host: zone=a,disk=ssd."`
	PortRange     string   `name:"port-range" env:"PORT_RANGE" default:"10000:10100" help:"Ports of the ambassador that containers may reach."`
	SecretKeyFile string   `name:"secret-key-file" env:"SECRET_KEY_FILE" default:"/etc/dokkaa/secret.key" help:"File with the key that the cluster's secrets are encrypted with. Only containers with secrets need it."`
	EndExec       string   `name:"end-exec" help:"Only end the command with this mark, and what it started, among the processes of the container that this one is put with; with ! before the mark, all commands but those whose marks begin so. The conductor starts a container of its own image that does this."`
	EndSignal     string   `name:"end-signal" help:"With --end-exec: only send the signal of this name, INT or the like."`
	Firewall      bool     `name:"firewall" help:"Only keep the firewall between containers and the cluster's ports. The conductor starts a container of its own image that does this."`
}

// DefaultHTTPAddr is where the operations endpoint listens.
const DefaultHTTPAddr = "127.0.0.1:4002"

// firewallHTTPAddr is where that of the firewall container listens.
const firewallHTTPAddr = "127.0.0.1:4006"

// validate checks the settings and fills in what is found out from the host.
func (s *Settings) validate() error {
	if s.HostIP == "" {
		ip, err := defaultAddress()
		if err != nil {
			return fmt.Errorf("HOST_IP is not set and cannot be found out: %w", err)
		}
		s.HostIP = ip
	}
	if !isHostAddress(s.HostIP) {
		return fmt.Errorf("HOST_IP %q is not the IPv4 address of a host", s.HostIP)
	}
	if s.PublicIP != "" && !isHostAddress(s.PublicIP) {
		return fmt.Errorf("PUBLIC_IP %q is not the IPv4 address of a host", s.PublicIP)
	}
	if _, err := s.labels(); err != nil {
		return err
	}
	_, err := s.ports()
	return err
}

// tls is how to talk to the gateways of other hosts, nil if no file says.
func (s *Settings) tls(log *slog.Logger) (func() *tls.Config, error) {
	files := certificate.Files{Cert: s.TLSPem, Key: s.TLSKey, CA: s.CACert}
	if files.None() {
		return nil, nil
	}
	kept, err := certificate.Read(files, log)
	if err != nil {
		return nil, fmt.Errorf("ETCD_TLSPEM, ETCD_TLSKEY, ETCD_CACERT: %w", err)
	}
	return kept.Client, nil
}

func isHostAddress(text string) bool {
	addr, err := netip.ParseAddr(text)
	return err == nil && addr.Is4() && !addr.IsUnspecified() && !addr.IsMulticast()
}

func (s *Settings) labels() (map[string]string, error) {
	labels := map[string]string{}
	for label := range strings.SplitSeq(s.HostLabels, ",") {
		label = strings.TrimSpace(label)
		if label == "" {
			continue
		}
		key, value, found := strings.Cut(label, "=")
		if !found || key == "" {
			return nil, fmt.Errorf("HOST_LABELS: %q does not have the form key=value", label)
		}
		if _, twice := labels[key]; twice {
			return nil, fmt.Errorf("HOST_LABELS: %q is given twice", key)
		}
		labels[key] = value
	}
	return labels, nil
}

func (s *Settings) ports() (ports [2]uint16, err error) {
	first, last, _ := strings.Cut(s.PortRange, ":")
	for i, text := range []string{first, last} {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return ports, fmt.Errorf("PORT_RANGE %q does not have the form first:last", s.PortRange)
		}
		ports[i] = uint16(port)
	}
	if ports[0] > ports[1] {
		return ports, fmt.Errorf("PORT_RANGE %q ends before it begins", s.PortRange)
	}
	return ports, nil
}

// defaultAddress is the address that this host would use to reach others; nothing is sent.
func defaultAddress() (string, error) {
	conn, err := net.Dial("udp4", "192.0.2.1:9")
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).IP.String(), nil
}
