//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// nameserver is a process that answers.
type nameserver struct {
	name    string
	address string
	process *exec.Cmd
}

// Where what is compared listens, all on loopback.
const (
	dnsEtcd     = "127.0.0.1:24571"
	dnsEtcdPeer = "127.0.0.1:24572"
	dnsOurs     = "127.0.0.1:24573"
	dnsCore     = "127.0.0.1:24574"
	dnsUncached = "127.0.0.1:24575"
	dnsNSD      = "127.0.0.1:24576"
	dnsUpstream = "127.0.0.1:24577"
	dnsLarge    = "127.0.0.1:24578"
)

// launch starts a program that ends with ctx.
func launch(ctx context.Context, log string, env []string, name string, args ...string) (*exec.Cmd, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), out, out
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return cmd, nil
}

// ready waits until the nameserver knows the last of the records.
func (n *nameserver) ready(ctx context.Context, name string) error {
	return until(ctx, time.Millisecond, func() error {
		reply, err := dns.ExchangeContext(ctx, new(dns.Msg).SetQuestion(name, dns.TypeA), n.address)
		if err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
		if len(reply.Answer) == 0 {
			return fmt.Errorf("%s: no answer for %s", n.name, name)
		}
		return nil
	})
}

// startEtcd starts the etcd of the records.
func (c *dnsContest) startEtcd(ctx context.Context) error {
	client, peer := "http://"+dnsEtcd, "http://"+dnsEtcdPeer
	process, err := launch(ctx, filepath.Join(c.dir, "etcd.log"), []string{"ETCD_ENABLE_GRPC_GATEWAY=true"}, filepath.Join(c.binaries, "etcd"),
		"--enable-v2", "--data-dir", filepath.Join(c.dir, "etcd"), "--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	if err != nil {
		return err
	}
	c.processes = append(c.processes, process)
	return until(ctx, polling, func() error { return c.request(ctx, "GET", "/health", "", nil) })
}

// startOurs starts our nameserver.
func (c *dnsContest) startOurs(ctx context.Context, address, prefix string) (*nameserver, error) {
	process, err := launch(ctx, filepath.Join(c.dir, "skydns"+address+".log"), []string{
		"ETCD_MACHINES=http://" + dnsEtcd, "SKYDNS_ADDR=" + address, "SKYDNS_NAMESERVERS=" + dnsUpstream, "SKYDNS_PATH_PREFIX=" + prefix,
		"SKYDNS_CACHE=10000", // as in our image
	}, filepath.Join(c.binaries, "skydns"), "--http-addr=127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c.processes = append(c.processes, process)
	return &nameserver{"skydns", address, process}, nil
}

const coreDNSVersion = "v1.15.0"

// coreDNSMain is a CoreDNS with no more than is measured, so that it builds in a minute.
const coreDNSMain = `package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/etcd"
	_ "github.com/coredns/coredns/plugin/forward"
)

func main() {
	dnsserver.Directives = []string{"bind", "cache", "etcd", "forward"}
	coremain.Run()
}
`

// buildCoreDNS builds CoreDNS from the module proxy, outside of our module. The binary is kept for
// the next time.
func buildCoreDNS(ctx context.Context) (binary string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("build CoreDNS: %w", err)
	}
	dir := filepath.Join(cache, "dokkaa-bench", "coredns-"+coreDNSVersion)
	binary = filepath.Join(dir, "coredns")
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("build CoreDNS: %w", err)
	}
	files := map[string]string{"go.mod": "module coredns\n\ngo 1.26.0\n", "main.go": coreDNSMain}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("build CoreDNS: %w", err)
		}
	}
	for _, args := range [][]string{
		{"get", "github.com/coredns/coredns@" + coreDNSVersion}, {"mod", "tidy"}, {"build", "-o", "coredns", "."},
	} {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build CoreDNS: go %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return binary, nil
}

// startCoreDNS starts CoreDNS, whose cache holds all names that are asked for.
func (c *dnsContest) startCoreDNS(ctx context.Context, name, address string, cached bool) (*nameserver, error) {
	binary, err := buildCoreDNS(ctx)
	if err != nil {
		return nil, err
	}
	cache := ""
	if cached {
		cache = fmt.Sprintf("cache 30 {\n success %d\n }", 4*manyNames)
	}
	host, port, _ := strings.Cut(address, ":")
	file := filepath.Join(c.dir, "Corefile"+port)
	text := fmt.Sprintf(".:%s {\n bind %s\n %s\n etcd skydns.local {\n path /skydns\n endpoint http://%s\n }\n forward . %s\n}\n", port, host, cache, dnsEtcd, dnsUpstream)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("configure CoreDNS: %w", err)
	}
	process, err := launch(ctx, file+".log", nil, binary, "-conf", file)
	if err != nil {
		return nil, err
	}
	c.processes = append(c.processes, process)
	return &nameserver{name, address, process}, nil
}

// startNSD starts NSD on a file of the records.
func (c *dnsContest) startNSD(ctx context.Context) (*nameserver, error) {
	var zone strings.Builder
	fmt.Fprintf(&zone, "$ORIGIN skydns.local.\n$TTL %d\n@ SOA ns.dns hostmaster 1 28800 7200 604800 60\n@ NS ns.dns\nns.dns A 127.0.0.1\n", recordTTL)
	for _, r := range contestRecords() {
		name := strings.TrimSuffix(r.service, ".skydns.local.")
		fmt.Fprintf(&zone, "%s.%s A %s\n%[2]s A %[3]s\n%[2]s SRV 10 33 %[4]d %[1]s.%[2]s\n", r.instance, name, r.host, r.port)
	}
	host, port, _ := strings.Cut(dnsNSD, ":")
	config := fmt.Sprintf("server:\n ip-address: %s\n port: %s\n username: \"\"\n pidfile: \"\"\n database: \"\"\n rrl-ratelimit: 0\n zonelistfile: %q\n xfrdfile: %q\n zonesdir: %q\n"+
		"remote-control:\n control-enable: no\nzone:\n name: skydns.local\n zonefile: zone\n",
		host, port, filepath.Join(c.dir, "zone.list"), filepath.Join(c.dir, "xfrd"), c.dir)
	err := errors.Join(os.WriteFile(filepath.Join(c.dir, "zone"), []byte(zone.String()), 0o600), os.WriteFile(filepath.Join(c.dir, "nsd.conf"), []byte(config), 0o600))
	if err != nil {
		return nil, fmt.Errorf("configure NSD: %w", err)
	}
	process, err := launch(ctx, filepath.Join(c.dir, "nsd.log"), nil, "nsd", "-d", "-c", filepath.Join(c.dir, "nsd.conf"))
	if err != nil {
		return nil, err
	}
	c.processes = append(c.processes, process)
	return &nameserver{"NSD", dnsNSD, process}, nil
}

// upstream answers for all foreign names, until ctx ends.
func upstream(ctx context.Context) (stop func() error, err error) {
	started := make(chan struct{})
	server := &dns.Server{Addr: dnsUpstream, Net: "udp", NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, req *dns.Msg) {
		reply := new(dns.Msg).SetReply(req)
		if rr, err := dns.NewRR(req.Question[0].Name + " 300 IN A 192.0.2.1"); err == nil {
			reply.Answer = []dns.RR{rr}
		}
		_ = w.WriteMsg(reply) // who does not get it asks again
	})}
	done := make(chan error, 1)
	go func() { done <- server.ListenAndServe() }()
	select {
	case <-started:
		return func() error { return errors.Join(server.Shutdown(), <-done) }, nil
	case err := <-done:
		return nil, fmt.Errorf("start upstream nameserver: %w", err)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// spent is how long the nameserver was on a processor, with the processes that it has started.
func (n *nameserver) spent() (time.Duration, error) { return familyTime(n.process.Process.Pid) }

func familyTime(pid int) (time.Duration, error) {
	total, err := processorTime(pid)
	if err != nil {
		return 0, err
	}
	children, err := os.ReadFile(procFile(pid, fmt.Sprintf("task/%d/children", pid)))
	if err != nil {
		return 0, fmt.Errorf("read children: %w", err)
	}
	for field := range strings.FieldsSeq(string(children)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			return 0, fmt.Errorf("read children: %w", err)
		}
		more, err := familyTime(child)
		if err != nil {
			return 0, err
		}
		total += more
	}
	return total, nil
}
