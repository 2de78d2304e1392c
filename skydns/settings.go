package skydns

import (
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/dokkaa/dokkaa/internal/daemon"
)

// Settings are the settings of the skydns daemon: those of SkyDNS 2, and some more. They come from
// the environment and from flags, which override it; what stands at /<path-prefix>/config in etcd
// overrides both (see document).
type Settings struct {
	daemon.Settings

	Machines   []string `name:"machines" env:"ETCD_MACHINES" default:"http://127.0.0.1:4001" help:"URLs of etcd, or of its gateways."`
	TLSKey     string   `name:"tls-key" env:"ETCD_TLSKEY" placeholder:"FILE" help:"Key of the certificate to show to etcd."`
	TLSPem     string   `name:"tls-pem" env:"ETCD_TLSPEM" placeholder:"FILE" help:"Certificate to show to etcd."`
	CACert     string   `name:"ca-cert" env:"ETCD_CACERT" placeholder:"FILE" help:"Certificate of the authority that vouches for etcd."`
	Username   string   `name:"username" env:"ETCD_USERNAME" help:"User of etcd to read the keys as."`
	Password   string   `name:"password" env:"ETCD_PASSWORD" help:"Password of that user." secret:""`
	Etcd3      bool     `name:"etcd3" help:"Refused: the records are those of etcd's v2 keys."`
	PathPrefix string   `name:"path-prefix" env:"SKYDNS_PATH_PREFIX" default:"skydns" help:"Directory of the records in etcd."`

	Addr    []string `name:"addr" env:"SKYDNS_ADDR" placeholder:"IP:PORT" help:"Addresses to listen on, over UDP and TCP. The name of a network interface in place of the address means the interface's address, as soon as there is one. Default: HOST_IP:53,dokkaa:53."`
	HostIP  string   `name:"host-ip" env:"HOST_IP" default:"127.0.0.1" help:"Address of the host, to listen on where --addr does not say."`
	Systemd bool     `name:"systemd" env:"SKYDNS_SYSTEMD" help:"Serve on the sockets that systemd passes, instead of --addr."`
	DoTAddr []string `name:"dot-addr" env:"SKYDNS_DOT_ADDR" placeholder:"IP:PORT" help:"Addresses to listen on for DNS over TLS."`
	DoTCert string   `name:"dot-cert" env:"SKYDNS_DOT_CERT" placeholder:"FILE" help:"Certificate for --dot-addr. It is read again when it changes."`
	DoTKey  string   `name:"dot-key" env:"SKYDNS_DOT_KEY" placeholder:"FILE" help:"Key of that certificate."`

	Handover     string        `name:"handover" env:"HANDOVER" default:"dokkaa-skydns" hidden:"" help:"Servers that listen at the same addresses take over from each other if they have the same name here; for tests."`
	LameDuckTime time.Duration `name:"lame-duck" env:"SKYDNS_LAME_DUCK" default:"1s" help:"How long the server goes on answering after it was told to end, while /readyz says so."`

	Domain     string        `name:"domain" env:"SKYDNS_DOMAIN" default:"skydns.local." help:"Domain to answer for."`
	Hostmaster string        `name:"hostmaster" env:"SKYDNS_HOSTMASTER" placeholder:"MAILBOX" help:"Who is responsible for the domain, for its SOA. Default: hostmaster@<domain>."`
	Local      string        `name:"local" env:"SKYDNS_LOCAL" placeholder:"NAME" help:"What local.dns.<domain> stands for."`
	TTL        uint32        `name:"ttl" env:"DNS_TTL" default:"3600" help:"Seconds that a record without a TTL may be cached."`
	MinTTL     uint32        `name:"min-ttl" env:"DNS_MIN_TTL" default:"60" help:"Seconds that a negative answer may be cached."`
	Priority   uint16        `name:"priority" env:"DNS_PRIORITY" default:"10" help:"SRV priority of a record without one."`
	RoundRobin bool          `name:"round-robin" env:"SKYDNS_ROUND_ROBIN" default:"true" help:"Give services and addresses in another order each time."`
	MaxStale   time.Duration `name:"max-stale" env:"SKYDNS_MAX_STALE" default:"24h" help:"How long the last known records are answered while etcd is away."`
	DNSSEC     string        `name:"dnssec" placeholder:"FILE" help:"Refused: answers are not signed."`
	SCache     int           `name:"scache" default:"10000" help:"Without effect, as there are no signatures."`

	Nameservers []string      `name:"nameservers" env:"SKYDNS_NAMESERVERS" placeholder:"IP:PORT" help:"Nameservers that other names are asked of. Default: those of /etc/resolv.conf."`
	NSRotate    bool          `name:"ns-rotate" env:"SKYDNS_NS_ROTATE" default:"true" help:"Ask the nameservers in turn, not always the first one first."`
	NoRec       bool          `name:"no-rec" env:"SKYDNS_NO_REC" help:"Never ask other nameservers."`
	Ndots       int           `name:"ndots" env:"SKYDNS_NDOTS" default:"2" help:"Labels that a name must have for other nameservers to be asked."`
	RTimeout    time.Duration `name:"rtimeout" env:"SKYDNS_RTIMEOUT" default:"2s" help:"How long one nameserver may take."`
	Cache       int           `name:"cache" env:"SKYDNS_CACHE" default:"0" help:"How many answers of other nameservers are kept for as long as their TTLs allow; 0: none."`
	RCache      int           `name:"rcache" env:"SKYDNS_RCACHE" default:"0" help:"How many answers of other nameservers are kept for --rcache-ttl at most; instead of --cache, if it is set."`
	RCacheTTL   int           `name:"rcache-ttl" env:"SKYDNS_RCACHE_TTL" default:"60" help:"Seconds that other nameservers' answers are kept at most with --rcache, and the TTL of their records in our own answers."`
	StubZones   bool          `name:"stubzones" env:"SKYDNS_STUBZONES" help:"Ask the servers of the zones below dns/stub for these."`

	Recursion  []string `name:"recursion" env:"SKYDNS_RECURSION" default:"127.0.0.0/8,::1/128,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7,169.254.0.0/16,fe80::/10" placeholder:"NETWORK" help:"Networks of the clients that may ask for other names than the domain's."`
	RateLimit  int      `name:"rate-limit" env:"SKYDNS_RATE_LIMIT" default:"200" help:"Replies of one kind to one network of clients (an IPv4 /24, an IPv6 /56) a second, over UDP and without a cookie; 0: no limit."`
	RateSlip   int      `name:"rate-slip" env:"SKYDNS_RATE_SLIP" default:"2" help:"One in so many of the replies above the rate limit is sent cut to nothing, which makes clients ask over TCP; 0: none."`
	RateExempt []string `name:"rate-exempt" env:"SKYDNS_RATE_EXEMPT" placeholder:"NETWORK" help:"Networks of the clients that are not limited. Default: those of --recursion."`

	Verbose             bool   `name:"verbose" env:"SKYDNS_VERBOSE" help:"Log all queries, like --query-log=1."`
	QueryLog            int    `name:"query-log" env:"SKYDNS_QUERY_LOG" default:"0" help:"Log one in so many queries; 0: none."`
	PrometheusPort      string `name:"prometheus-port" env:"PROMETHEUS_PORT" placeholder:"PORT" help:"Serve the metrics there too, under the names of SkyDNS."`
	PrometheusPath      string `name:"prometheus-path" env:"PROMETHEUS_PATH" default:"/metrics" help:"Path for --prometheus-port."`
	PrometheusNamespace string `name:"prometheus-namespace" env:"PROMETHEUS_NAMESPACE" default:"skydns" help:"First part of the metrics' names."`
	PrometheusSubsystem string `name:"prometheus-subsystem" env:"PROMETHEUS_SUBSYSTEM" default:"skydns" help:"Second part of the metrics' names."`

	Check    bool     `name:"check" help:"Print the settings and where each comes from, and what the server would answer for NAME."`
	Question []string `arg:"" optional:"" name:"name" help:"For --check: a name, and the type to ask for; A if it is left out."`

	sources map[string]string // by the setting's name; those that are missing are defaults
}

// Bridge is the interface of the containers' network, which the conductor makes.
const Bridge = "dokkaa"

// post is the name by which servers know each other that listen at the same addresses, "" if nobody
// is to take over. Where the system chooses a port, nobody else has it.
func (s *Settings) post() string {
	addrs := append(s.withDefaults().Addr, s.DoTAddr...)
	if s.Handover == "" || s.Systemd || slices.ContainsFunc(addrs, func(addr string) bool { return strings.HasSuffix(addr, ":0") }) {
		return ""
	}
	return s.Handover + "/" + strings.Join(addrs, ",")
}

// AfterApply notes where the settings come from. The command line's parser calls it.
func (s *Settings) AfterApply(parsed *kong.Context) error {
	s.sources = map[string]string{}
	for _, flag := range parsed.Flags() {
		for _, name := range flag.Envs {
			if _, set := os.LookupEnv(name); set {
				s.sources[flag.Name] = "environment " + name
			}
		}
	}
	for _, step := range parsed.Path {
		if step.Flag != nil {
			s.sources[step.Flag.Name] = "flag"
		}
	}
	return nil
}

// Validate refuses settings that cannot work. The command line's parser calls it.
func (s *Settings) Validate() error {
	if len(s.Question) > 2 || len(s.Question) > 0 && !s.Check {
		return fmt.Errorf("unexpected argument %s", s.Question[0])
	}
	if _, err := s.tls(slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	_, err := s.config()
	return err
}

// setting is one of Settings as --check shows it.
type setting struct{ name, value, source string }

// list is all settings of the nameserver, in the order of Settings.
func (s Settings) list() []setting {
	var list []setting
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		name := tag.Get("name")
		if _, argument := tag.Lookup("arg"); name == "" || argument || name == "check" {
			continue
		}
		value := fmt.Sprint(v.Field(i).Interface())
		if values, ok := v.Field(i).Interface().([]string); ok {
			value = strings.Join(values, ",")
		}
		if _, secret := tag.Lookup("secret"); secret && value != "" {
			value = "…"
		}
		source := s.sources[name]
		if source == "" {
			source = "default"
		}
		list = append(list, setting{name, value, source})
	}
	return list
}
