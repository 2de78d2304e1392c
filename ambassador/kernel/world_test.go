//go:build linux

package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
)

const (
	gateway  = "172.30.0.1"
	dialled  = 10001
	inside   = 80 // port that instances listen on
	listener = "the ambassador"
)

// world is a host with a bridge that keeps its containers from each other, as Docker does.
type world struct {
	*namespace
	table *Table
	last  int // container

	instances []*container
	ports     map[*container]uint32
}

// container is one of the host's, with a network of its own.
type container struct {
	*namespace
	addr netip.Addr
	name string // of its port of the bridge
}

func newWorld(t *testing.T) *world {
	w := &world{namespace: newNamespace(t), ports: make(map[*container]uint32)}
	w.ip("link set lo up")
	w.ip("link add dokkaa address 02:42:ac:1e:00:01 type bridge") // or it would change with the ports
	w.ip("addr add " + gateway + "/16 dev dokkaa")
	w.ip("link set dokkaa up")
	w.mustIn(func() error {
		return errors.Join(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0),
			os.WriteFile(bridgeFilter, []byte("1"), 0))
	})
	for rule := range strings.Lines(`-P FORWARD DROP
		-N DOCKER-USER
		-A DOCKER-USER -j RETURN
		-A FORWARD -j DOCKER-USER
		-A FORWARD -o dokkaa -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
		-A FORWARD -i dokkaa ! -o dokkaa -j ACCEPT
		-A FORWARD -i dokkaa -o dokkaa -j DROP`) {
		w.run("iptables", strings.Fields(rule)...)
	}
	// Without anybody's translation in place, the kernel would drop that of open connections too.
	w.run("iptables", "-t", "nat", "-A", "POSTROUTING", "-s", "172.30.0.0/16", "!", "-o", "dokkaa", "-j", "MASQUERADE")
	w.serve(w.namespace, gateway, dialled, listener)
	w.table = New(Settings{Name: "test", Bridge: "dokkaa", Gateway: netip.MustParseAddr(gateway),
		Ports: [2]uint16{10000, 10100}, Limit: 1000}, 7)
	return w
}

// container starts one with the address.
func (w *world) container(addr string) *container {
	w.t.Helper()
	w.last++
	c := &container{namespace: newNamespace(w.t), addr: netip.MustParseAddr(addr), name: fmt.Sprintf("veth%d", w.last)}
	w.ip("link add " + c.name + " type veth peer name inner" + c.name)
	w.ip("link set inner"+c.name+" netns /proc/self/fd/3", c.file)
	w.ip("link set " + c.name + " master dokkaa up")
	c.ip("link set lo up")
	ip := c.addr.As4() // the hardware address is made from it, as Docker does
	c.ip(fmt.Sprintf("link set inner%s address 02:42:%02x:%02x:%02x:%02x", c.name, ip[0], ip[1], ip[2], ip[3]))
	c.ip("link set inner" + c.name + " name eth0")
	c.ip("addr add " + addr + "/16 dev eth0")
	c.ip("link set eth0 up")
	c.ip("route add default via " + gateway)
	return c
}

// end has the container end: its network goes, and its port of the bridge with it.
func (w *world) end(c *container) { w.ip("link del " + c.name) }

// instance is a container that says its name to whoever connects, and then echoes.
func (w *world) instance(addr, name string) *container {
	w.t.Helper()
	c := w.container(addr)
	w.serve(c.namespace, addr, inside, name)
	w.announce(c)
	return c
}

// announce makes the container an instance, whether it listens or not.
func (w *world) announce(c *container) {
	w.t.Helper()
	w.instances, w.ports[c] = append(w.instances, c), w.port(c)
}

func (w *world) serve(n *namespace, addr string, port int, name string) (stop func()) {
	w.t.Helper()
	var l net.Listener
	n.mustIn(func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf("%s:%d", addr, port))
		return err
	})
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			go func() {
				defer conn.Close()
				_, _ = io.WriteString(conn, name+"\n") // the client notices
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return func() { l.Close() }
}

// port is the index of the container's port, as the product finds it.
func (w *world) port(c *container) (index uint32) {
	w.t.Helper()
	etcdtest.WaitFor(w.t, 5*time.Second, func() error {
		return w.in(func() error {
			ports, err := Ports("dokkaa")
			index = ports[c.addr]
			if err == nil && index == 0 {
				err = fmt.Errorf("no port for %s: %v", c.addr, ports)
			}
			return err
		})
	})
	return index
}

// caller is the container with a link to the service.
func (w *world) caller(c *container, service string) Caller {
	return Caller{Port: w.port(c), Addr: c.addr, Links: map[uint16]string{dialled: service}}
}

// apply has the kernel connect the callers to the instances that are given.
func (w *world) apply(callers []Caller, services map[string]Service) {
	w.t.Helper()
	rules, why := Plan(callers, services, w.here())
	for service, reason := range why {
		w.t.Logf("%s is not the kernel's: %s", service, reason)
	}
	w.mustIn(func() error { return errors.Join(w.table.Apply(rules), w.table.Renew(), AllowInward("dokkaa")) })
}

// here is what is known of the host: its instances are announced with its own address.
func (w *world) here() Host {
	h := Host{Addrs: []netip.Addr{netip.MustParseAddr(gateway)}, Inward: true, Published: make(map[netip.AddrPort]Inside)}
	for _, c := range w.instances {
		h.Published[c.announced()] = Inside{netip.AddrPortFrom(c.addr, inside), w.ports[c]}
	}
	return h
}

// announced is the host's address that leads to the instance.
func (c *container) announced() netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(gateway), 30000+uint16(c.addr.As4()[3]))
}

func (w *world) instanceOf(service string, c *container) Instance {
	return Instance{service, c.announced(), w.here().Published[c.announced()]}
}

// serviceOf is a service with these instances.
func serviceOf(instances ...*container) (s Service) {
	for _, c := range instances {
		s.Endpoints = append(s.Endpoints, Endpoint{Addr: c.announced(), Priority: 10, Weight: 100})
	}
	return s
}

// call connects and returns who answered.
func (c *container) call() (who string, err error) {
	conn, who, err := c.dial()
	if err == nil {
		conn.Close()
	}
	return who, err
}

func (c *container) dial() (conn *net.TCPConn, who string, err error) {
	err = c.in(func() error {
		dialled, err := net.DialTimeout("tcp4", fmt.Sprintf("%s:%d", gateway, dialled), 10*time.Second)
		if err == nil {
			conn = dialled.(*net.TCPConn)
		}
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, "", err
	}
	who, err = bufio.NewReaderSize(conn, 16).ReadString('\n')
	return conn, strings.TrimSpace(who), err
}

// expect checks who answers.
func (w *world) expect(c *container, want string) {
	w.t.Helper()
	if who, err := c.call(); who != want || err != nil {
		w.t.Errorf("%s was answered by %q, want %q: %v", c.addr, who, want, err)
	}
}

func (w *world) run(name string, args ...string) {
	w.t.Helper()
	w.mustIn(func() error { return command(w.t, name, args...) })
}
