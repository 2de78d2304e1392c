package etcdtest

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/certificate"
)

// Authority vouches for the members of a cluster and their clients.
type Authority struct {
	t   testing.TB
	own *certificate.Authority
	dir string
}

func newAuthority(t testing.TB) *Authority {
	t.Helper()
	own, err := certificate.NewAuthority("test", "etcd", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a := &Authority{t: t, own: own, dir: t.TempDir()}
	a.write("ca.pem", own.Certificate())
	a.issue("member.pem", certificate.Subject{Role: certificate.Member, Name: certificate.MemberName, Serves: true,
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	a.issue("client.pem", certificate.Subject{Role: certificate.Operator, Name: "test"})
	return a
}

func (a *Authority) issue(file string, s certificate.Subject) {
	a.t.Helper()
	text, err := a.own.Issue(s, time.Now())
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(file, text)
}

func (a *Authority) write(file string, text []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.file(file), text, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *Authority) file(name string) string { return filepath.Join(a.dir, name) }

// Client is the files of a client's certificate.
func (a *Authority) Client() certificate.Files {
	return certificate.Files{Cert: a.file("client.pem"), Key: a.file("client.pem"), CA: a.file("ca.pem")}
}

func (a *Authority) scheme() string {
	if a == nil {
		return "http://"
	}
	return "https://"
}

// flags are those of a member.
func (a *Authority) flags() []string {
	if a == nil {
		return nil
	}
	pem, ca := a.file("member.pem"), a.file("ca.pem")
	return []string{"--cert-file", pem, "--key-file", pem, "--trusted-ca-file", ca, "--client-cert-auth",
		"--peer-cert-file", pem, "--peer-key-file", pem, "--peer-trusted-ca-file", ca, "--peer-client-cert-auth",
		"--peer-cert-allowed-cn", certificate.MemberName}
}

// client is how to ask a member, nil for without TLS.
func (a *Authority) client() *tls.Config {
	if a == nil {
		return nil
	}
	kept, err := certificate.Read(a.Client(), slog.New(slog.DiscardHandler))
	if err != nil {
		a.t.Error(err)
		return nil
	}
	return kept.Client()
}
