//go:build linux

package proxies

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// The kernel connects only who comes through a bridge: here callers and backends are in networks of
// their own behind one, with the rules that Docker has for it.
var (
	bridgeGateway = netip.AddrFrom4([4]byte{172, 30, 0, 1})
	bridgeBackend = netip.AddrFrom4([4]byte{172, 30, 2, 1})
)

// onBridge are callers behind the bridge.
func onBridge(i int) netip.Addr { return netip.AddrFrom4([4]byte{172, 30, 1, byte(i + 1)}) }

const dockerRules = `
table ip filter {
	chain DOCKER-USER { }
	chain FORWARD {
		type filter hook forward priority 0; policy accept;
		jump DOCKER-USER
	}
}
table ip nat {
	chain POSTROUTING {
		type nat hook postrouting priority 100; policy accept;
		ip saddr 172.30.0.0/16 oifname != "dokkaa" masquerade
	}
}
`

// bridged measures the kernel path beside the proxies and a direct connection.
func (c *contest) bridged(ctx context.Context, r *Results) error {
	if err := makeBridge(ctx); err != nil {
		return err
	}
	inside, err := newPlace(ctx, "callers", callerCount, onBridge)
	if err != nil {
		return err
	}
	defer inside.close()
	behind, err := newPlace(ctx, "backends", 1, func(int) netip.Addr { return bridgeBackend })
	if err != nil {
		return err
	}
	defer behind.close()
	var stop func()
	err = behind.do(func() (err error) {
		stop, err = startBackends()
		return err
	})
	if err != nil {
		return err
	}
	defer stop()
	all, err := c.onBridge(inside)
	if err != nil {
		return err
	}
	for _, p := range all {
		defer p.stop()
		if err := p.start(ctx, c.dir); err != nil {
			return err
		}
		r.BridgedNames = append(r.BridgedNames, p.name)
	}
	if err := c.kernelServes(ctx); err != nil {
		return err
	}
	r.Bridged, err = c.each(ctx, bridgedPrefix, all)
	return err
}

// onBridge are those who are compared there, a direct connection first.
func (c *contest) onBridge(inside *place) (all []*contender, err error) {
	var services, direct []service
	var ports []uint16
	for kind := range kinds {
		name, port := fmt.Sprintf("kind%d.shop.skydns.local", kind), uint16(backendPort+kind)
		services = append(services, service{name, []netip.AddrPort{netip.AddrPortFrom(bridgeGateway, port)}})
		direct = append(direct, service{name, []netip.AddrPort{netip.AddrPortFrom(bridgeBackend, port)}})
		ports = append(ports, port)
	}
	kernelWorld, err1 := startWorld(c.dir, "kernel", onBridge, callerCount, kernelPort, services, container{addr: bridgeBackend, published: ports})
	plainWorld, err2 := startWorld(c.dir, "plain", onBridge, callerCount, kernelPort+10, direct)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	c.worlds = append(c.worlds, kernelWorld, plainWorld)
	for i, mode := range []string{"kernel", "proxy"} {
		first := kernelPort + 10*i
		p := ambassador("ambassador, "+mode, c.Binary, 0, []*world{kernelWorld, plainWorld}[i], "LISTEN_ADDR="+bridgeGateway.String(),
			fmt.Sprintf("PORT_RANGE=%d:%d", first, first+9), "HANDOVER=bench-"+mode, "AMBASSADOR_MODE="+mode, "SLOW_START=0")
		p.to = netip.AddrPortFrom(bridgeGateway, uint16(first))
		all = append(all, p)
	}
	ha, err := haproxyTo(c.dir, "HAProxy", netip.AddrPortFrom(bridgeGateway, kernelPort+20), func(kind int) netip.AddrPort {
		return direct[kind].backends[0]
	}, "", " option splice-auto\n")
	all = append([]*contender{{name: "direct", to: direct[0].backends[0]}}, append(all, ha)...)
	for _, p := range all {
		p.from, p.within = onBridge, inside
	}
	return all, err
}

const kernelPort = 24700

// bridgedPrefix begins the names of the loads there, for Options.Only.
const bridgedPrefix = "kernel: "

// kernelServes waits until the kernel has all links.
func (c *contest) kernelServes(ctx context.Context) error {
	return eventually(ctx, func() error {
		out, err := exec.CommandContext(ctx, "nft", "list", "ruleset").CombinedOutput()
		if err != nil {
			return fmt.Errorf("nft list ruleset: %w: %s", err, out)
		}
		if got, want := strings.Count(string(out), ": goto service-"), callerCount*kinds; got != want {
			return fmt.Errorf("the kernel has %d links, not %d", got, want)
		}
		return nil
	})
}

func makeBridge(ctx context.Context) error {
	for _, words := range []string{"link add dokkaa address 02:42:ac:1e:00:01 type bridge", "addr add 172.30.0.1/16 dev dokkaa", "link set dokkaa up"} {
		if err := ipCommand(ctx, words); err != nil {
			return err
		}
	}
	for file, value := range map[string]string{
		"net/ipv4/ip_forward":                "1",
		"net/bridge/bridge-nf-call-iptables": "1",
		// Or connections of the last two minutes would fill its table.
		"net/netfilter/nf_conntrack_tcp_timeout_time_wait": "1",
	} {
		if err := os.WriteFile(filepath.Join("/proc/sys", file), []byte(value), 0o644); err != nil {
			return err
		}
	}
	nft := exec.CommandContext(ctx, "nft", "-f", "-")
	nft.Stdin = strings.NewReader(dockerRules)
	if out, err := nft.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, out)
	}
	return nil
}

func ipCommand(ctx context.Context, words string, files ...*os.File) error {
	command := exec.CommandContext(ctx, "ip", strings.Fields(words)...)
	command.ExtraFiles = files
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", words, err, out)
	}
	return nil
}

// place is a network behind the bridge.
type place struct{ file *os.File }

// newPlace makes one with so many addresses.
func newPlace(ctx context.Context, name string, n int, addr func(int) netip.Addr) (*place, error) {
	p := &place{}
	made := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			p.file, err = os.Open("/proc/thread-self/ns/net")
		}
		made <- err
	}()
	if err := <-made; err != nil {
		return nil, fmt.Errorf("make a network: %w", err)
	}
	err := errors.Join(ipCommand(ctx, "link add "+name+" type veth peer name inner"),
		ipCommand(ctx, "link set inner netns /proc/self/fd/3", p.file), ipCommand(ctx, "link set "+name+" master dokkaa up"))
	return p, errors.Join(err, p.do(func() error {
		for i := range n {
			if err := ipCommand(ctx, "addr add "+addr(i).String()+"/16 dev inner"); err != nil {
				return err
			}
		}
		return errors.Join(ipCommand(ctx, "link set inner up"), furnish(ctx))
	}))
}

// do does it there; with no place, here.
func (p *place) do(f func() error) error {
	if p == nil {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // as above
		if err := unix.Setns(int(p.file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

func (p *place) close() { p.file.Close() }
