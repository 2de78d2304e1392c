package skydns

import (
	"net/netip"
	"strings"

	"github.com/dokkaa/dokkaa/skydns/forward"
	"github.com/dokkaa/dokkaa/skydns/zone"
	"github.com/miekg/dns"
)

const dnsPort = 53

// findStubs takes over the stub zones of the records, if they changed.
func (s *Server) findStubs(last, next *records) {
	if !s.config.StubZones {
		return
	}
	root := "stub.dns." + s.config.Answer.Domain
	if next.stubs = next.zone.Find(root); next.stubs != last.stubs { // nodes do not change
		if s.stubs.Set(stubServers(next.stubs, root)) {
			s.forwarder.Forget() // some of it is for others to say now
		}
	}
}

// stubServers are the servers of the stub zones below node, whose name is root, by the zones'
// names. At each record stands an address, and what its name has between its own label and root is
// the zone.
func stubServers(node *zone.Node, root string) map[string][]netip.AddrPort {
	servers := map[string][]netip.AddrPort{}
	if node == nil {
		return servers
	}
	for r := range node.All() {
		_, rest, _ := strings.Cut(strings.ToLower(r.Name), ".")
		name, ok := strings.CutSuffix(rest, "."+root)
		if !ok || name == "" || !r.Addr.IsValid() {
			continue
		}
		port := uint16(r.Port)
		if port == 0 {
			port = dnsPort
		}
		servers[name+"."] = append(servers[name+"."], netip.AddrPortFrom(r.Addr, port))
	}
	return servers
}

// stubbed asks the servers of a stub zone, and drops what such servers were asked already.
func (s *Server) stubbed(x *request, servers *forward.Forwarder) *dns.Msg {
	req := x.req
	x.by = stub
	if forward.Marked(req) {
		s.log.Warn("query to a stub zone came back", "question", questionOf(req), "client", x.client)
		return nil
	}
	reply, err := s.exchange(x, servers)
	if err != nil {
		s.log.Debug("servers of a stub zone do not answer", "question", questionOf(req), "err", err)
		return newReply(req, dns.RcodeServerFailure)
	}
	return reply
}
