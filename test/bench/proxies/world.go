//go:build linux

package proxies

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// world is what an ambassador asks: a Docker Engine with the callers, and a nameserver with the backends.
type world struct {
	engine, dns string // where they listen
	stop        func()
}

// service is what callers reach at a port.
type service struct {
	name     string
	backends []netip.AddrPort
}

// callers are containers' addresses, which connections come from. wrk connects from the first.
type callers func(i int) netip.Addr

// onLoopback are callers in one network with all others.
func onLoopback(i int) netip.Addr {
	if i == 0 {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)})
}

// startWorld runs an Engine and a nameserver for as many callers, each of which may reach every service
// at its port, from first on.
func startWorld(dir, name string, from callers, n, first int, services []service, others ...container) (*world, error) {
	var group sync.WaitGroup
	w := &world{engine: filepath.Join(dir, name+".sock")}
	listener, err := net.Listen("unix", w.engine)
	if err != nil {
		return nil, err
	}
	engine := http.Server{Handler: engineHandler(append(containers(from, n, first, services), others...))}
	group.Go(func() { _ = engine.Serve(listener) }) // until it is closed
	packets, stream, err := listenDNS()
	if err != nil {
		return nil, err
	}
	w.dns = packets.LocalAddr().String()
	handler := dnsHandler(services)
	servers := []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: stream, Handler: handler}}
	for _, server := range servers {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		group.Go(func() { _ = server.ActivateAndServe() }) // until it is shut down
		<-started
	}
	w.stop = func() {
		for _, server := range servers {
			_ = server.Shutdown() // it ends with us at the latest
		}
		_ = engine.Close()
		group.Wait()
	}
	return w, nil
}

// listenDNS listens on a port that is free with both protocols.
func listenDNS() (packets net.PacketConn, stream net.Listener, err error) {
	for range 10 {
		if stream, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, nil, err
		}
		if packets, err = net.ListenPacket("udp", stream.Addr().String()); err == nil {
			return packets, stream, nil
		}
		stream.Close()
	}
	return nil, nil, err
}

// container is one of the Engine's.
type container struct {
	addr      netip.Addr
	label     string // of its links
	published []uint16
}

// containers are the callers.
func containers(from callers, n, first int, services []service) (all []container) {
	links := make(map[string]string)
	for i, s := range services {
		links[fmt.Sprint(first+i)] = s.name
	}
	for i := range n {
		all = append(all, container{addr: from(i), label: mustJSON(links)})
	}
	return all
}

// listed is the container in the Engine's list.
func (c container) listed(id string) map[string]any {
	var ports []any
	for _, port := range c.published {
		ports = append(ports, map[string]any{"IP": bridgeGateway.String(), "PublicPort": port, "PrivatePort": port, "Type": "tcp"})
	}
	return map[string]any{"Id": id, "Names": []string{"/shop---" + id}, "State": "running", "Ports": ports,
		"Labels": map[string]string{"dokkaa.cluster": "bench", "dokkaa.backends": c.label}, "NetworkSettings": c.networks()}
}

func (c container) networks() any {
	type network struct{ IPAddress string }
	return map[string]any{"Networks": map[string]network{"dokkaa": {c.addr.String()}}}
}

func mustJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // it is made of strings and numbers
	}
	return string(text)
}

func engineHandler(all []container) http.Handler {
	var rows []any
	each := make(map[string]string) // what is said of one container
	for i, c := range all {
		id := fmt.Sprintf("%064x", i)
		rows = append(rows, c.listed(id))
		each["/containers/"+id+"/json"] = mustJSON(map[string]any{"Id": id, "State": map[string]bool{"Running": true}, "NetworkSettings": c.networks()})
	}
	list := mustJSON(rows)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/version"):
			_, _ = w.Write([]byte(`{"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}`)) // who does not hear it asks again
		case strings.HasSuffix(r.URL.Path, "/events"):
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush() // likewise
			<-r.Context().Done()
		case strings.HasSuffix(r.URL.Path, "/containers/json"):
			_, _ = w.Write([]byte(list)) // likewise
		default:
			_, path, _ := strings.Cut(r.URL.Path[1:], "/") // without the version
			_, _ = w.Write([]byte(each["/"+path]))         // likewise
		}
	})
}

// dnsHandler answers as skydns does: each instance has a name of its own, whose address comes along.
func dnsHandler(services []service) dns.Handler {
	replies := make(map[string]*dns.Msg)
	for _, s := range services {
		reply := new(dns.Msg)
		for i, b := range s.backends {
			target := fmt.Sprintf("%012x.%s.", i, s.name)
			reply.Answer = append(reply.Answer, &dns.SRV{
				Hdr:      dns.RR_Header{Name: s.name + ".", Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: 5},
				Priority: 10, Weight: 100, Port: b.Port(), Target: target})
			reply.Extra = append(reply.Extra, &dns.A{
				Hdr: dns.RR_Header{Name: target, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 5}, A: b.Addr().AsSlice()})
		}
		replies[s.name+"."] = reply
	}
	return dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		reply := new(dns.Msg).SetReply(question)
		if known, ok := replies[question.Question[0].Name]; ok {
			reply.Answer, reply.Extra = known.Answer, known.Extra
		}
		reply.Compress = true
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			reply.Truncate(4096)
		}
		_ = w.WriteMsg(reply) // who does not get it asks again
	})
}

// ready waits until the ambassador serves.
func ready(ctx context.Context, from callers, addr netip.AddrPort) error {
	return eventually(ctx, func() error {
		dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from(0), 0))}
		conn, err := dialer.DialContext(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("x")); err != nil {
			return err
		}
		_, err = conn.Read(make([]byte, 1))
		return err
	})
}
