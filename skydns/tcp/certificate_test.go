package tcp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// writeCertificate makes a certificate of that serial number.
func writeCertificate(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTLS(t *testing.T) {
	certFile, keyFile := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	if _, err := LoadCertificate(certFile, keyFile, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("files that are missing are a certificate")
	}
	writeCertificate(t, certFile, keyFile, 1)
	var log bytes.Buffer
	certificate, err := LoadCertificate(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := start(t, testLimits(), certificate.Config())
	serial := func() int64 {
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"dot"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		query := &dns.Conn{Conn: conn}
		if err := query.WriteMsg(new(dns.Msg).SetQuestion("a.example.", dns.TypeTXT)); err != nil {
			t.Fatal(err)
		}
		if reply, err := query.ReadMsg(); err != nil || len(reply.Answer) != 1 {
			t.Fatalf("got %v, %v", reply, err)
		}
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if n := serial(); n != 1 {
		t.Errorf("certificate %d", n)
	}
	later := time.Now().Add(2 * lookInterval)
	writeCertificate(t, certFile, keyFile, 2)
	if err := os.Chtimes(certFile, later, later); err != nil {
		t.Fatal(err)
	}
	certificate.current(later)
	if n := serial(); n != 2 {
		t.Errorf("after a change certificate %d", n)
	}
	if err := os.WriteFile(certFile, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	certificate.current(later.Add(2 * lookInterval))
	if n := serial(); n != 2 || !strings.Contains(log.String(), "not read again") {
		t.Errorf("after files that make no sense certificate %d:\n%s", n, log.String())
	}
}

func TestClientThatDoesNotShakeHands(t *testing.T) {
	certFile, keyFile := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	writeCertificate(t, certFile, keyFile, 1)
	certificate, err := LoadCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	limits := testLimits()
	addr, _ := start(t, limits, certificate.Config())
	if took := closedAfter(t, dial(t, addr)); took > 4*limits.Idle {
		t.Errorf("a silent one was cut off after %s", took)
	}
	conn := dial(t, addr)
	send(t, conn, framed(t, 1, "a.example."))
	closedAfter(t, conn)
}
