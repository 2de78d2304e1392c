package certificate

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var loopback = []netip.Addr{netip.MustParseAddr("127.0.0.1")}

func newTestAuthority(t *testing.T) *Authority {
	t.Helper()
	a, err := NewAuthority("web", "gateways", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *Authority) mustIssue(t *testing.T, s Subject) []byte {
	t.Helper()
	text, err := a.Issue(s, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAuthority(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	made, err := NewAuthority("web", "gateways", now)
	if err != nil {
		t.Fatal(err)
	}
	read, err := ParseAuthorities(append(newTestAuthority(t).Encode(), made.Encode()...))
	if err != nil || len(read) != 2 {
		t.Fatalf("read %d authorities, %v", len(read), err)
	}
	a := read[1]
	if a.Name() != "gateways" || !a.Made().Equal(now) {
		t.Errorf("authority %s of %s", a.Name(), a.Made())
	}
	if bytes.Contains(a.Certificate(), []byte("PRIVATE")) {
		t.Error("what others believe has the authority's key")
	}
	if want := now.AddDate(0, 0, 3650); !a.Ends().Equal(want) {
		t.Errorf("it ends at %s, not %s", a.Ends(), want)
	}
	for _, role := range []Role{Operator, Conductor, Skydns, Gateway, Member} {
		text, err := a.Issue(Subject{Role: role, Name: "10.0.0.1", Addresses: loopback, Serves: role == Gateway}, now)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		believed := x509.NewCertPool()
		believed.AppendCertsFromPEM(a.Certificate())
		verify := func(use x509.ExtKeyUsage) error {
			_, err := cert.Verify(x509.VerifyOptions{Roots: believed, CurrentTime: now.Add(-30 * time.Minute), KeyUsages: []x509.ExtKeyUsage{use}})
			return err
		}
		if RoleOf(cert) != role || cert.Subject.CommonName != "10.0.0.1" || cert.IsCA || !a.Issued(cert) {
			t.Errorf("the certificate of role %s is %s", role, cert.Subject)
		}
		if err := verify(x509.ExtKeyUsageClientAuth); err != nil {
			t.Errorf("%s as a client: %v", role, err)
		}
		if err := verify(x509.ExtKeyUsageServerAuth); (err == nil) != (role == Gateway) {
			t.Errorf("%s as a server: %v", role, err)
		}
	}
	late, err := a.Issue(Subject{Role: Operator}, now.AddDate(9, 6, 0))
	if err != nil {
		t.Fatal(err)
	}
	if cert, err := Parse(late); err != nil || !cert.NotAfter.Equal(a.Ends()) {
		t.Errorf("a late certificate ends at %s, after its authority; %v", cert.NotAfter, err)
	}
	if newTestAuthority(t).Issued(a.cert) {
		t.Error("another authority of the same name counts as the issuer")
	}
}

func TestDamagedAuthority(t *testing.T) {
	a, b := newTestAuthority(t), newTestAuthority(t)
	for name, text := range map[string][]byte{
		"nonsense": []byte("nonsense"), "no key": a.Certificate(), "another's key": append(a.Certificate(), bytes.TrimPrefix(b.Encode(), b.Certificate())...),
		"cut off": a.Encode()[:len(a.Encode())/2],
	} {
		if _, err := ParseAuthorities(text); err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRoles(t *testing.T) {
	cert := new(x509.Certificate)
	for units, want := range map[string]Role{"operator": Operator, "": "", "root": "", "operator,conductor": ""} {
		cert.Subject.OrganizationalUnit = strings.Split(units, ",")
		if got := RoleOf(cert); got != want {
			t.Errorf("%q is role %q, want %q", units, got, want)
		}
	}
}

// Whom the files name is what each new connection is made with.
func TestKept(t *testing.T) {
	dir := t.TempDir()
	files := Files{Cert: filepath.Join(dir, "own.pem"), Key: filepath.Join(dir, "own.pem"), CA: filepath.Join(dir, "ca.pem")}
	write := func(file string, text []byte) {
		t.Helper()
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first, second := newTestAuthority(t), newTestAuthority(t)
	both := Subject{Role: Gateway, Name: "10.0.0.1", Addresses: loopback, Serves: true}
	write(files.Cert, first.mustIssue(t, both))
	write(files.CA, first.Certificate())
	kept, err := Read(files, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := talk(t, kept, kept); err != nil {
		t.Errorf("at first: %v", err)
	}
	write(files.CA, []byte("nonsense"))
	later := kept.looked.Add(-lookInterval)
	kept.looked = later
	if err := talk(t, kept, kept); err != nil {
		t.Errorf("with a damaged file: %v", err)
	}
	write(files.Cert, second.mustIssue(t, both))
	write(files.CA, second.Certificate())
	old := &Kept{files: files, log: kept.log, loaded: kept.loaded, looked: time.Now()}
	kept.looked = later
	if err := talk(t, kept, kept); err != nil {
		t.Errorf("with other files: %v", err)
	}
	if err := talk(t, kept, old); err == nil {
		t.Error("the authority from before is still believed")
	}
	if _, err := Read(Files{Cert: "missing", Key: "missing"}, kept.log); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("files that are missing: %v", err)
	}
}

// talk has a client send a word to a server over TLS.
func talk(t *testing.T, server, client *Kept) error {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", server.Server())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	heard := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			defer conn.Close()
			_, err = io.Copy(conn, conn)
		}
		heard <- err
	}()
	conn, err := Dialer(new(net.Dialer).DialContext, client.Client)(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		<-heard
		return err
	}
	_, err = io.WriteString(conn, "word")
	if err == nil {
		err = conn.(*tls.Conn).CloseWrite()
	}
	if err == nil {
		_, err = io.ReadAll(conn)
	}
	return errors.Join(err, conn.Close(), <-heard)
}
