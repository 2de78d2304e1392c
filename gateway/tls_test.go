package gateway

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/certificate"
	"github.com/dokkaa/dokkaa/internal/etcdtest"
)

// papers are an authority of gateways and what it issued, in files.
type papers struct {
	t         *testing.T
	authority *certificate.Authority
	dir       string
}

func newPapers(t *testing.T) *papers {
	t.Helper()
	authority, err := certificate.NewAuthority("test", "gateways", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p := &papers{t, authority, t.TempDir()}
	p.write("ca.pem", authority.Certificate())
	return p
}

func (p *papers) write(file string, text []byte) {
	p.t.Helper()
	temp := filepath.Join(p.dir, file+".new")
	if err := os.WriteFile(temp, text, 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(temp, filepath.Join(p.dir, file)); err != nil {
		p.t.Fatal(err)
	}
}

// issue makes a certificate, and returns its files.
func (p *papers) issue(role certificate.Role, name string, serves bool) certificate.Files {
	p.t.Helper()
	text, err := p.authority.Issue(certificate.Subject{Role: role, Name: name, Serves: serves,
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}, time.Now())
	if err != nil {
		p.t.Fatal(err)
	}
	file := string(role) + ".pem"
	p.write(file, text)
	file = filepath.Join(p.dir, file)
	return certificate.Files{Cert: file, Key: file, CA: filepath.Join(p.dir, "ca.pem")}
}

// client is one with the certificate in the files.
func client(t *testing.T, files certificate.Files) *http.Client {
	t.Helper()
	kept, err := certificate.Read(files, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return clientWith(t, kept.Client())
}

func clientWith(t *testing.T, config *tls.Config) *http.Client {
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 2 * waitFor}
}

// startSecure starts a gateway that asks etcd over TLS, and wants certificates of its clients.
func startSecure(t *testing.T) (*door, *papers) {
	t.Helper()
	etcd, vouches := etcdtest.StartSecure(t, 1)
	p := newPapers(t)
	own, toEtcd := p.issue(certificate.Gateway, "127.0.0.1", true), vouches.Client()
	d := startGatewayWith(t, Settings{
		GatewayAddrs: []string{"127.0.0.1:0"}, EtcdAddrs: []string{strings.TrimPrefix(etcd.Member(0).URL(), "https://")},
		TLSCert: own.Cert, TLSKey: own.Key, TLSCA: own.CA, EtcdPem: toEtcd.Cert, EtcdKey: toEtcd.Key, EtcdCA: toEtcd.CA,
	}, func(g *Gateway) {
		kept, err := certificate.Read(own, g.log)
		if err != nil {
			t.Fatal(err)
		}
		g.entrances[0].kept = kept // though it is on loopback
	})
	eventually(t, d.Ready)
	d.url = strings.Replace(d.url, "http://", "https://", 1)
	return d, p
}

// ask sends a request by the client, and returns the status and the answer.
func ask(c *http.Client, req *http.Request) (int, string, error) {
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

func TestMutualTLS(t *testing.T) {
	checkLeaks(t)
	d, p := startSecure(t)
	foreign := newPapers(t)
	foreignFiles := foreign.issue(certificate.Operator, "mallory", false)
	foreignFiles.CA = filepath.Join(p.dir, "ca.pem")
	anonymous, err := certificate.Read(certificate.Files{CA: foreignFiles.CA}, d.log)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*http.Client{
		"with no certificate":    clientWith(t, anonymous.Client()),
		"with a foreign one":     client(t, foreignFiles),
		"with the etcd's client": client(t, certificate.Files{Cert: d.etcd.Cert, Key: d.etcd.Key, CA: foreignFiles.CA}),
	} {
		if status, body, err := ask(c, d.request("GET", "/v2/keys/apps", "")); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %d %s, %v", name, status, body, err)
		}
	}
	const manifest = "/v2/keys/apps/a/b/manifest"
	operator := client(t, p.issue(certificate.Operator, "ann", false))
	if status, body, err := ask(operator, d.request("PUT", manifest, formOfValue("{}"))); status != http.StatusCreated || err != nil {
		t.Errorf("the operator: %d %s, %v", status, body, err)
	}
	conductor := client(t, p.issue(certificate.Conductor, "10.0.0.2", false))
	if status, body, err := ask(conductor, d.request("GET", manifest, "")); status != http.StatusOK || err != nil {
		t.Errorf("the conductor reads: %d %s, %v", status, body, err)
	}
	status, body, err := ask(conductor, d.request("PUT", manifest, formOfValue("{}")))
	if status != http.StatusForbidden || err != nil || !strings.Contains(body, `role "conductor", which 10.0.0.2 has, may not PUT `+manifest) {
		t.Errorf("the conductor writes: %d %s, %v", status, body, err)
	}
}

// Certificates and the authorities to believe change without a restart, and long polls go on.
func TestCertificatesAreReadAgain(t *testing.T) {
	checkLeaks(t)
	d, p := startSecure(t)
	operator := p.issue(certificate.Operator, "ann", false)
	d.client = client(t, operator)
	first := d.serial(t)
	poll := d.startPoll("/v2/keys/apps/a?wait=true")

	p.issue(certificate.Gateway, "127.0.0.1", true)
	d.client = client(t, operator)
	eventually(t, func() error {
		d.client.CloseIdleConnections()
		if now := d.serial(t); now == first {
			return fmt.Errorf("it still shows %s", now)
		}
		return nil
	})

	old, open := client(t, operator), client(t, operator)
	if _, _, err := ask(open, d.request("GET", "/healthz", "")); err != nil {
		t.Fatal(err)
	}
	was := p.authority
	next, err := certificate.NewAuthority("test", "gateways", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p.authority = next
	p.write("ca.pem", append(was.Certificate(), next.Certificate()...)) // both
	eventually(t, func() error {
		fresh := client(t, p.issue(certificate.Operator, "ann", false))
		_, _, err := ask(fresh, d.request("GET", "/healthz", ""))
		return err
	})
	p.issue(certificate.Gateway, "127.0.0.1", true)
	p.write("ca.pem", next.Certificate())
	eventually(t, func() error {
		old.CloseIdleConnections()
		if _, _, err := ask(old, d.request("GET", "/healthz", "")); err == nil {
			return fmt.Errorf("the old authority is still believed")
		}
		return nil
	})
	eventually(t, func() error { // on the connection that it keeps open
		if _, _, err := ask(open, d.request("GET", "/healthz", "")); err == nil {
			return fmt.Errorf("who was believed by the old authority is believed still")
		}
		return nil
	})
	fresh := client(t, p.issue(certificate.Operator, "ann", false))
	if status, body, err := ask(fresh, d.request("PUT", "/v2/keys/apps/a", formOfValue("x"))); status != http.StatusCreated || err != nil {
		t.Errorf("%d %s, %v", status, body, err)
	}
	if err := <-poll; err != nil {
		t.Errorf("the poll from before: %v", err)
	}
}

// serial is that of the certificate which the gateway shows.
func (d *door) serial(t *testing.T) string {
	t.Helper()
	resp, err := d.client.Do(d.request("GET", "/healthz", ""))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.TLS.PeerCertificates[0].SerialNumber.String()
}

func TestFilesThatAreMissing(t *testing.T) {
	for name, s := range map[string]Settings{
		"no key":            {HostIP: "10.0.0.1", TLSCert: "a", TLSCA: "b"},
		"no authorities":    {HostIP: "10.0.0.1", TLSCert: "a", TLSKey: "a"},
		"etcd's without ca": {HostIP: "10.0.0.1", EtcdPem: "a", EtcdKey: "a"},
	} {
		if err := s.Validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
