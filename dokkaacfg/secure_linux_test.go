package dokkaacfg

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/dokkaacfg/provision"
	"github.com/dokkaa/dokkaa/internal/vhost"
)

// refusesStrangers asks with every certificate of a host, from that host.
func (m *machines) refusesStrangers() {
	m.Helper()
	first, second := m.machines[0].IP().String(), m.machines[1].IP().String()
	for _, test := range []struct{ own, ca, request, says string }{
		{"", "gateway/ca.pem", "GET https://<first>:4001/v2/keys/apps", "certificate required"},
		{"", "", "GET http://<first>:4001/v2/keys/apps", "HTTP request to an HTTPS server"},
		{"conductor/conductor.pem", "conductor/ca.pem", "GET https://<first>:4001/v2/keys/apps?recursive=true", "dockerfile/nginx"},
		{"conductor/conductor.pem", "conductor/ca.pem", "PUT https://<first>:4001/v2/keys/apps/a/b/manifest?value=x", `role "conductor", which <second> has, may not PUT`},
		{"conductor/conductor.pem", "conductor/ca.pem", "PUT https://<first>:4001/v2/keys/hosts/<first>/lease?value=x", `role "conductor", which <second> has, may not PUT`},
		{"skydns/skydns.pem", "skydns/ca.pem", "GET https://<first>:4001/v2/keys/skydns?recursive=true", "nginx"},
		{"skydns/skydns.pem", "skydns/ca.pem", "GET https://<first>:4001/v2/keys/apps?recursive=true", `role "skydns", which <second> has, may not GET`},
		{"gateway/gateway.pem", "gateway/ca.pem", "GET https://<first>:4001/v2/keys/apps", `role "gateway", which <second> has, may not GET`},
		{"gateway/etcd.pem", "gateway/etcd-ca.pem", "GET https://<first>:2379/v2/keys/apps", "/apps/"},
		{"gateway/etcd.pem", "gateway/ca.pem", "GET https://<first>:4001/v2/keys/apps", "certificate"},
		{"gateway/etcd.pem", "gateway/etcd-ca.pem", "GET https://<first>:2380/members", "certificate"},
		{"conductor/conductor.pem", "gateway/etcd-ca.pem", "GET https://<first>:2379/v2/keys/apps", "certificate"},
		{"gateway/gateway.pem", "gateway/etcd-ca.pem", "GET https://<first>:2379/v2/keys/apps", "certificate"},
		{"", "gateway/etcd-ca.pem", "GET https://<first>:2379/v2/keys/apps", "certificate required"},
		{"", "", "GET http://127.0.0.1:4001/v2/keys/apps?recursive=true", "dockerfile/nginx"},
	} {
		fill := strings.NewReplacer("<first>", first, "<second>", second)
		request, want := fill.Replace(test.request), fill.Replace(test.says)
		if says := m.ask(m.machines[1], test.own, test.ca, request); !strings.Contains(says, want) {
			m.Errorf("%s %s: %s, want %q", test.own, request, says, want)
		}
	}
	// What is taken from a host is of no use on another.
	own, ca := m.certificate(m.machines[1], "conductor/conductor.pem"), m.certificate(m.machines[1], "conductor/ca.pem")
	if says := askWith(m.T, m.machines[0], own, ca, "GET https://"+first+":4001/v2/keys/apps"); !strings.Contains(says, "is not good for who asks from "+first) {
		m.Errorf("a conductor's certificate on another host: %s", says)
	}
}

func (m *machines) certificate(machine *vhost.Machine, name string) string {
	m.Helper()
	if name == "" {
		return ""
	}
	return m.on(machine, "cat "+filepath.Join(provision.CertificatesDir, name)) + "\n"
}

// ask sends a request from a machine with files that it has, and returns the answer or the error.
func (m *machines) ask(machine *vhost.Machine, own, ca, request string) string {
	m.Helper()
	return askWith(m.T, machine, m.certificate(machine, own), m.certificate(machine, ca), request)
}

func askWith(t *testing.T, machine *vhost.Machine, own, ca, request string) string {
	t.Helper()
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM([]byte(ca))
	if own != "" {
		pair, err := tls.X509KeyPair([]byte(own), []byte(own))
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: machine.Dial, TLSClientConfig: config, DisableKeepAlives: true}}
	method, url, _ := strings.Cut(request, " ")
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return fmt.Sprint(string(text), err)
}
