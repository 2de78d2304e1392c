package dokkaacfg

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"path/filepath"
)

// doors are where the gateways and etcd members of a cluster answer, and how they are spoken to.
// Everything in this program that asks one of them has its URL and its client from here. The zero value
// is for a cluster whose hosts speak to each other without certificates.
type doors struct {
	keys *tls.Config // for gateways
	etcd *tls.Config // for members of etcd
	// authorities is the directory on this machine of those who issue the certificates, "" where there are
	// to be none; believed identifies those whom members of etcd believe.
	authorities, believed string
	// open are the networks from which the gateways can be reached, beside the hosts.
	open []netip.Prefix
	// elsewhere is where gateways are that are not at the port of theirs on their hosts; nil for none.
	elsewhere func(netip.Addr) string
}

// openDoors finds out how the cluster is spoken to. It is called again when that may have changed.
func (s *session) openDoors() (err error) {
	if h, ok := s.provider.(*hosted); ok {
		if s.doors, err = newDoors(filepath.Join(h.dir(), "certificates")); err != nil {
			return err
		}
		s.doors.open = h.context.OpenKeys
	}
	s.hostClient = newHostClient(s.provider, s.doors)
	return nil
}

func (d doors) scheme() string {
	if d.etcd == nil {
		return "http"
	}
	return "https"
}

// gateway is a host's door to the keys.
func (d doors) gateway(host netip.Addr) string {
	if d.elsewhere != nil {
		return d.elsewhere(host)
	}
	return d.url(host, gatewayPort)
}

// member is where a host's etcd member answers clients.
func (d doors) member(host netip.Addr) string { return d.url(host, 2379) }

// peer is where a host's etcd member answers the others.
func (d doors) peer(host netip.Addr) string { return d.url(host, 2380) }

func (d doors) url(host netip.Addr, port uint16) string {
	return d.scheme() + "://" + netip.AddrPortFrom(host, port).String()
}

// toKeys is d.keys as a store takes it.
func (d doors) toKeys() func() *tls.Config {
	if d.keys == nil {
		return nil
	}
	return func() *tls.Config { return d.keys }
}

// toEtcd returns a client of the members of etcd. The caller closes its idle connections.
func (d doors) toEtcd(dial dialFunc) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: dial, TLSClientConfig: d.etcd.Clone()}}
}
