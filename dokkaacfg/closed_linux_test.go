package dokkaacfg

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/dokkaa/dokkaa/internal/vhost"
	"github.com/dokkaa/dokkaa/internal/vhosttest"
)

// doorManifest is a service that nobody links to and that the whole world may reach.
const doorManifest = `{"image": "dockerfile/nginx", "services": {"door": {"port": 80, "host_port": 8081}}}`

const bridgeIP = "172.30.0.1"

// usualPorts are those that something is likely to listen on.
func usualPorts() []uint16 {
	var all []uint16
	for _, span := range [][2]uint16{{1, 1100}, {2370, 2390}, {3000, 3010}, {4000, 4020}, {8000, 8100}, {9990, 10110}, {32760, 32900}} {
		for port := span[0]; port <= span[1]; port++ {
			all = append(all, port)
		}
	}
	return all
}

// place is where somebody is: on a machine, or in one of its containers.
type place struct {
	machine *vhost.Machine
	name    string
	pid     int
	from    int // column of the table
}

// world is what there is to look at.
type world struct {
	hosts     []*hostWorld
	elsewhere place
}

type hostWorld struct {
	machine    *vhost.Machine
	six        netip.Addr // its IPv6 address, for its neighbours
	containers []container
	published  []int // ports that Docker publishes
	members    bool  // it has an etcd member
}

type container struct {
	name string
	pid  int
	ip   netip.Addr
}

// isClosed compares what is open on the hosts with the table of docs/security.md: from a machine
// beside them, which is not one of the cluster's, from each other host, and from containers. What
// listens is looked at in any case, further ports are those given.
func (m *machines) isClosed(ports []uint16) {
	m.Helper()
	table, w := documentedPorts(m.T), m.look()
	for _, host := range w.hosts { // one after the other: from elsewhere there is one way to the bridge
		m.on(w.elsewhere.machine, "ip route replace 172.30.0.0/16 via "+host.machine.IP().String())
		ports := m.withListening(host.machine, ports)
		var group sync.WaitGroup
		for _, from := range w.placesAround(host) {
			for _, at := range host.addresses(from) {
				group.Go(func() { m.compare(table, host, from, at, ports) })
				if at.kind != onIPv6 {
					group.Go(func() { m.compareDNS(table, host, from, at) })
				}
			}
		}
		group.Wait()
		m.listensOnUDP(table, host.machine)
	}
	m.containersAreShutIn(w)
}

// openDoor runs the service that the world may reach.
func (m *machines) openDoor() {
	m.Helper()
	file := filepath.Join(m.TempDir(), "door.json")
	if err := os.WriteFile(file, []byte(doorManifest), 0o600); err != nil {
		m.Fatal(err)
	}
	m.call("apply", "-f", file, "house/door")
}

// look finds the containers, and starts the machine beside the hosts.
func (m *machines) look() world {
	m.Helper()
	outside := m.cluster.Machine(len(m.machines)+1, m.trees)
	err := outside.PowerOn(m.Context(), vhost.MachineOptions{AuthorizedKeys: []string{m.key}})
	if err != nil {
		m.Fatal(err)
	}
	w := world{elsewhere: place{machine: outside, name: "elsewhere", from: fromElsewhere}}
	for _, machine := range m.machines {
		h := &hostWorld{machine: machine, members: m.on(machine, "docker ps -q --filter name=^etcd$") != ""}
		// As an address of the machine beside them: it has a link of the same name.
		const linkLocal = `ip -6 -oneline address show scope link | awk '$2 !~ /^(docker|br-|veth|dokkaa)/ {sub(/\/.*/, "", $4); print $4 "%" $2; exit}'`
		if h.six, err = netip.ParseAddr(m.on(machine, linkLocal)); err != nil {
			m.Fatal(err)
		}
		const list = `docker ps -q --filter label=dokkaa.app | xargs -r docker inspect --format '{{.Name}} {{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}} {{json .Mounts}}'
			docker ps -q --filter label=dokkaa.app | xargs -r docker inspect --format '{{range $inside, $list := .NetworkSettings.Ports}}{{range $list}}port {{.HostPort}}{{"\n"}}{{end}}{{end}}'`
		for line := range strings.Lines(m.on(machine, list)) {
			switch fields := strings.Fields(line); {
			case len(fields) == 2:
				port, _ := strconv.Atoi(fields[1])
				h.published = append(h.published, port)
			case len(fields) >= 4:
				pid, err := strconv.Atoi(fields[1])
				ip, err2 := netip.ParseAddr(fields[2])
				if err != nil || err2 != nil || strings.Contains(line, "docker.sock") {
					m.Fatalf("container on %s: %q, %v, %v", machine.IP(), line, err, err2)
				}
				h.containers = append(h.containers, container{strings.TrimPrefix(fields[0], "/"), pid, ip})
			}
		}
		w.hosts = append(w.hosts, h)
	}
	return w
}

// placesAround are those from which the host is looked at.
func (w world) placesAround(host *hostWorld) []place {
	all := []place{w.elsewhere}
	for _, other := range w.hosts {
		if other != host {
			all = append(all, place{other.machine, "host " + other.machine.IP().String(), 0, fromHosts})
		}
		for _, c := range other.containers {
			all = append(all, place{other.machine, "container " + c.name, c.pid, fromContainers})
		}
	}
	return all
}

type target struct {
	kind string
	addr netip.Addr
}

// addresses are those of the host and of what is on it that somebody could try.
func (h *hostWorld) addresses(from place) []target {
	all := []target{{onAddress, h.machine.IP()}}
	if from.from == fromHosts || from.from == fromContainers && from.machine != h.machine {
		return all // the others are, to those, of their own host
	}
	if from.from == fromElsewhere {
		all = append(all, target{onIPv6, h.six})
	}
	all = append(all, target{onBridge, netip.MustParseAddr(bridgeIP)})
	for _, c := range h.containers {
		if c.pid != from.pid || from.machine != h.machine {
			all = append(all, target{onContainer, c.ip})
		}
	}
	return all
}

// withListening are the ports, and those that something listens on.
func (m *machines) withListening(machine *vhost.Machine, ports []uint16) []uint16 {
	all := slices.Clone(ports)
	for text := range strings.FieldsSeq(m.on(machine, `ss -Htln | awk '{sub(/.*:/, "", $4); print $4}'`)) {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			m.Error(err)
		}
		all = append(all, uint16(port))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// compare scans an address from a place, and holds what is open against the table: nothing else, and
// what is known to be there.
func (m *machines) compare(table openPorts, host *hostWorld, from place, at target, ports []uint16) {
	var open []uint16
	err := from.machine.Within(from.pid, func() (err error) {
		open, err = vhosttest.Scan(at.addr, ports)
		return err
	})
	if err != nil {
		m.Error(err)
		return
	}
	for _, port := range open {
		if row := table.row(int(port), slices.Contains(host.published, int(port))); !row.allows(from.from, at.kind) && !((at.kind == onBridge || at.kind == onIPv6) && row.everywhere() && row.allows(from.from, onAddress)) {
			m.Errorf("from %s, port %d of %s (%s of host %s) is open, but docs/security.md says %q of %s", from.name, port, at.addr, at.kind, host.machine.IP(), row.cells[from.from], row.text)
		}
	}
	for _, port := range host.known() {
		published := slices.Contains(host.published, port)
		if wanted := table.row(port, published).allows(from.from, at.kind); wanted && !slices.Contains(open, uint16(port)) {
			m.Errorf("from %s, port %d of %s (%s of host %s) is closed, but docs/security.md says that it is open", from.name, port, at.addr, at.kind, host.machine.IP())
		}
	}
}

// known are the ports that somebody answers on, where the table lets them be reached. The ambassador's are
// asked for a page.
func (h *hostWorld) known() []int {
	all := append([]int{22, 53, gatewayPort}, h.published...)
	if h.members {
		all = append(all, 2379, 2380)
	}
	return all
}

// compareDNS asks the nameserver, which answers over UDP or not at all.
func (m *machines) compareDNS(table openPorts, host *hostWorld, from place, at target) {
	var conn net.Conn
	err := from.machine.Within(from.pid, func() (err error) {
		conn, err = net.Dial("udp", netip.AddrPortFrom(at.addr, 53).String())
		return err
	})
	if err != nil {
		m.Error(err)
		return
	}
	defer conn.Close()
	question := new(dns.Msg).SetQuestion("nginx.nginx-and-crawler.skydns.local.", dns.TypeSRV)
	client := dns.Client{Timeout: time.Second}
	_, _, err = client.ExchangeWithConn(question, &dns.Conn{Conn: conn})
	if allowed := table.row(53, false).allows(from.from, at.kind); (err == nil) != allowed {
		m.Errorf("from %s, the nameserver at %s (%s of host %s) says %v; docs/security.md lets it be asked: %t", from.name, at.addr, at.kind, host.machine.IP(), err, allowed)
	}
}

// listensOnUDP looks for what the table does not know.
func (m *machines) listensOnUDP(table openPorts, machine *vhost.Machine) {
	m.Helper()
	for at := range strings.FieldsSeq(m.on(machine, `ss -Huln | awk '{print $4}' | grep -v '^127\.'`)) {
		_, text, err := net.SplitHostPort(at)
		port, err2 := strconv.Atoi(text)
		if row := table.row(port, false); err != nil || err2 != nil || row.text == table.rest.text {
			m.Errorf("host %s listens on %s (UDP), which docs/security.md does not know", machine.IP(), at)
		}
	}
}

const metadata = "169.254.169.254"

// containersAreShutIn looks from the containers at what they could want: the metadata address, and
// services that they have no link to. The outside world they reach.
func (m *machines) containersAreShutIn(w world) {
	m.Helper()
	outside := w.elsewhere.machine
	m.on(outside, "ip address replace "+metadata+"/32 dev lo")
	var listener net.Listener
	err := outside.Within(0, func() (err error) {
		listener, err = net.Listen("tcp", ":80")
		return err
	})
	if err != nil {
		m.Fatal(err)
	}
	defer listener.Close()
	for _, host := range w.hosts {
		m.on(host.machine, "ip route replace "+metadata+" via "+outside.IP().String())
		itself := place{machine: host.machine, name: "host " + host.machine.IP().String()}
		m.reaches(itself, metadata+":80", true)
		for _, c := range host.containers {
			from := place{machine: host.machine, name: "container " + c.name, pid: c.pid}
			m.reaches(from, outside.IP().String()+":80", true)
			m.reaches(from, metadata+":80", false)
			// The crawler has one link, the others have none.
			linked := strings.HasPrefix(c.name, "nginx-and-crawler---crawler")
			for port, want := range map[string]bool{"10001": linked, "10002": false, "10100": false} {
				if page := m.page(from, net.JoinHostPort(bridgeIP, port)); strings.Contains(page, "Welcome to nginx") != want || !want && page != "" {
					m.Errorf("from %s, the ambassador's port %s gives %.60q", from.name, port, page)
				}
			}
		}
	}
}

// dial connects from the place.
func (p place) dial(ctx context.Context, addr string) (conn net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err = p.machine.Within(p.pid, func() error {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", addr)
		return err
	})
	return conn, err
}

func (m *machines) reaches(from place, addr string, want bool) {
	m.Helper()
	conn, err := from.dial(m.Context(), addr)
	if err == nil {
		conn.Close()
	}
	if (err == nil) != want {
		m.Errorf("from %s, %s: %v", from.name, addr, err)
	}
}

// page is what an HTTP server answers with, "" if there is none.
func (m *machines) page(from place, addr string) string {
	m.Helper()
	conn, err := from.dial(m.Context(), addr)
	if err != nil {
		return ""
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		m.Error(err)
	}
	fmt.Fprintf(conn, "GET / HTTP/1.0\r\n\r\n")
	text, _ := io.ReadAll(conn) // a connection that is cut gives no page
	return string(text)
}
