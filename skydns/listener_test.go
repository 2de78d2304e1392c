package skydns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

func TestParseEndpoint(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Endpoint
		ok   bool
	}{
		{"127.0.0.1:53", Endpoint{Addr: netip.MustParseAddr("127.0.0.1"), Port: 53}, true},
		{"[::1]:5353", Endpoint{Addr: netip.MustParseAddr("::1"), Port: 5353}, true},
		{"0.0.0.0:53", Endpoint{Addr: netip.MustParseAddr("0.0.0.0"), Port: 53}, true},
		{"dokkaa:53", Endpoint{Interface: "dokkaa", Port: 53}, true},
		{"%dokkaa:53", Endpoint{Interface: "dokkaa", Port: 53}, true},
		{":53", Endpoint{}, false},
		{"127.0.0.1", Endpoint{}, false},
		{"10.0.0:53", Endpoint{}, false},
		{"ns.example.org:53", Endpoint{}, false},
		{"dokkaa:dns", Endpoint{}, false},
		{"dokkaa:70000", Endpoint{}, false},
		{"averylonginterface:53", Endpoint{}, false},
	} {
		got, err := ParseEndpoint(c.in)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("ParseEndpoint(%q) = %+v, %v, want %+v", c.in, got, err, c.want)
		}
	}
}

func TestInterfaceAddress(t *testing.T) {
	if addr, err := interfaceAddr("lo"); err != nil || addr != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("lo has %s, %v", addr, err)
	}
	if addr, err := interfaceAddr("none-such"); err == nil {
		t.Errorf("an interface that does not exist has %s", addr)
	}
}

// answering says whether the server answers at addr over both protocols.
func answering(addr string) error {
	for _, network := range []string{"udp", "tcp"} {
		client := dns.Client{Net: network}
		if _, _, err := client.Exchange(question("a.skydns.local.", dns.TypeA), addr); err != nil {
			return err
		}
	}
	return nil
}

func TestInterfaceThatComesAndGoes(t *testing.T) {
	source := newFakeSource()
	source.set(map[string]string{"a": `{"host":"10.0.0.1"}`})
	config := testConfig()
	port := closedPort(t).Port()
	config.Listen = append(config.Listen, Endpoint{Interface: "bridge", Port: port})
	s := newServer(t, config, source)
	var bridge atomic.Pointer[netip.Addr]
	for _, l := range s.listeners {
		l.lookup = func(name string) (netip.Addr, error) {
			if addr := bridge.Load(); addr != nil {
				return *addr, nil
			}
			return netip.Addr{}, fmt.Errorf("no interface %s", name)
		}
	}
	run(t, s)
	eventually(t, s.Ready) // with the other address alone

	// It comes, comes back with another address, and goes.
	for _, host := range []string{"127.0.0.2", "127.0.0.3"} {
		addr := netip.MustParseAddr(host)
		bridge.Store(&addr)
		eventually(t, func() error { return answering(netip.AddrPortFrom(addr, port).String()) })
	}
	if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.2:%d", port)); err == nil {
		t.Error("the former address is still bound", conn.Close())
	}
	bridge.Store(nil)
	eventually(t, func() error {
		if n := len(s.Addrs()); n != 1 {
			return fmt.Errorf("%d addresses are bound, want 1", n)
		}
		return nil
	})
	if err := s.Ready(); err != nil {
		t.Errorf("Ready: %v", err)
	}
}

func TestAddressInUseIsTriedAgain(t *testing.T) {
	taken, err := bindLoopback(t)
	if err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	config := testConfig()
	config.Listen[0].Port = taken.addr().Port()
	source := newFakeSource()
	source.set(nil)
	s := newServer(t, config, source)
	s.listeners[0].log = slog.New(slog.NewTextHandler(&log, nil))
	run(t, s)
	eventually(t, func() error {
		if err := s.Ready(); err == nil || !strings.Contains(err.Error(), "address already in use") {
			return fmt.Errorf("Ready: %v", err)
		}
		return nil
	})
	// One protocol alone is not enough.
	if err := taken.tcp.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if err := s.Ready(); err == nil || !strings.Contains(err.Error(), "listen udp") {
			return fmt.Errorf("Ready: %v", err)
		}
		return nil
	})
	if err := taken.udp.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.Ready)
	if n := strings.Count(log.String(), "listen tcp"); n != 1 {
		t.Errorf("one reason was logged %d times:\n%s", n, log.String())
	}
}

func TestRestartOnTheSameAddress(t *testing.T) {
	config := testConfig()
	config.Listen[0].Port = closedPort(t).Port()
	for range 3 {
		source := newFakeSource()
		source.set(nil)
		s := newServer(t, config, source)
		stop := run(t, s)
		eventually(t, s.Ready)
		if err := answering(s.Addrs()[0].String()); err != nil {
			t.Error(err)
		}
		stop()
	}
}

func TestListeningForTLS(t *testing.T) {
	config := testConfig()
	config.ListenTLS = []Endpoint{{Addr: netip.MustParseAddr("127.0.0.1")}}
	config.CertFile, config.KeyFile = "testdata/none.pem", "testdata/none.pem"
	if _, err := New(config, newFakeSource(), discardLog(), prometheus.NewRegistry()); err == nil {
		t.Error("a certificate that is missing is taken")
	}
	config.CertFile, config.KeyFile = writeCertificate(t)
	s, _, plain := serve(t, config, shop)
	eventually(t, func() error {
		if n := len(s.Addrs()); n != 2 {
			return fmt.Errorf("%d addresses", n)
		}
		return nil
	})
	for _, addr := range s.Addrs() {
		if addr.String() == plain {
			continue
		}
		client := dns.Client{Net: "tcp-tls", TLSConfig: &tls.Config{InsecureSkipVerify: true}}
		reply, _, err := client.Exchange(question("db.shop.skydns.local.", dns.TypeA), addr.String())
		if err != nil {
			t.Fatal(err)
		}
		want(t, reply, dns.RcodeSuccess, []string{"db.shop.skydns.local. 30 IN A 10.30.0.1"}, nil)
	}
}

// writeCertificate makes a certificate, and returns its files.
func writeCertificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}
