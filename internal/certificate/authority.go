package certificate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"time"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	// Life is that of what an authority issues.
	Life = 365 * 24 * time.Hour
	// skew is how far behind the clock of a host may be that is shown a certificate of a moment ago.
	skew = time.Hour
)

// Authority issues certificates. Whoever has its key can be anybody.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority.
func NewAuthority(cluster, name string, now time.Time) (*Authority, error) {
	template := x509.Certificate{
		Subject:  pkix.Name{Organization: []string{cluster}, CommonName: name},
		NotAfter: now.Add(authorityLife), KeyUsage: x509.KeyUsageCertSign,
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	cert, key, err := sign(template, now, nil)
	if err != nil {
		return nil, fmt.Errorf("make authority %s: %w", name, err)
	}
	return &Authority{cert, key}, nil
}

// ParseAuthorities reads what Encode returned, of one or of several in a row.
func ParseAuthorities(text []byte) ([]*Authority, error) {
	var all []*Authority
	for len(bytes.TrimSpace(text)) > 0 {
		var blocks [2]*pem.Block
		for i, want := range []string{certificateBlock, keyBlock} {
			if blocks[i], text = pem.Decode(text); blocks[i] == nil || blocks[i].Type != want {
				return nil, fmt.Errorf("parse authorities: there is no %s where one should be", strings.ToLower(want))
			}
		}
		cert, err := x509.ParseCertificate(blocks[0].Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse authorities: %w", err)
		}
		key, err := x509.ParsePKCS8PrivateKey(blocks[1].Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse key of authority %s: %w", cert.Subject.CommonName, err)
		}
		own, ok := key.(*ecdsa.PrivateKey)
		if !ok || !own.PublicKey.Equal(cert.PublicKey) {
			return nil, fmt.Errorf("the key of authority %s is another's", cert.Subject.CommonName)
		}
		all = append(all, &Authority{cert, own})
	}
	return all, nil
}

// Name is what the authority was made for.
func (a *Authority) Name() string { return a.cert.Subject.CommonName }

// Encode returns the authority with its key, for a file that nobody else may read.
func (a *Authority) Encode() []byte { return encode(a.cert, a.key) }

// Certificate returns the authority without its key, for those who are to believe it.
func (a *Authority) Certificate() []byte { return encode(a.cert, nil) }

// Issued tells whether the certificate is from this authority.
func (a *Authority) Issued(cert *x509.Certificate) bool {
	return cert.CheckSignatureFrom(a.cert) == nil
}

// Made is when it was made.
func (a *Authority) Made() time.Time { return a.cert.NotBefore.Add(skew) }

// Ends is when the authority can vouch for nobody any more.
func (a *Authority) Ends() time.Time { return a.cert.NotAfter }

// Subject is whom a certificate is for.
type Subject struct {
	Role Role
	Name string
	// Addresses are where it answers, or, of one who asks only, where it asks from; none for anywhere.
	Addresses []netip.Addr
	Serves    bool // may answer as a server; all may ask as clients
}

// Issue makes a certificate, and returns it with its key in one file.
func (a *Authority) Issue(s Subject, now time.Time) ([]byte, error) {
	template := x509.Certificate{
		Subject: pkix.Name{
			Organization: a.cert.Subject.Organization, OrganizationalUnit: []string{string(s.Role)}, CommonName: s.Name,
		},
		NotAfter: now.Add(Life), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	if s.Serves {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, address := range s.Addresses {
		template.IPAddresses = append(template.IPAddresses, net.IP(address.AsSlice()))
	}
	cert, key, err := sign(template, now, a)
	if err != nil {
		return nil, fmt.Errorf("issue certificate of %s %s: %w", s.Role, s.Name, err)
	}
	return encode(cert, key), nil
}

// sign makes a certificate with a new key, signed by the authority, or, if that is nil, by itself.
func sign(template x509.Certificate, now time.Time, by *Authority) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, err
	}
	template.NotBefore = now.Add(-skew)
	parent, signer := &template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "PRIVATE KEY"
)

func encode(cert *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	var text bytes.Buffer
	blocks := []*pem.Block{{Type: certificateBlock, Bytes: cert.Raw}}
	if key != nil {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			panic(err) // it is of a kind that can be marshalled
		}
		blocks = append(blocks, &pem.Block{Type: keyBlock, Bytes: der})
	}
	for _, block := range blocks {
		_ = pem.Encode(&text, block) // a buffer takes everything
	}
	return text.Bytes()
}

// Parse returns the first certificate in the text.
func Parse(text []byte) (*x509.Certificate, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == certificateBlock {
			return x509.ParseCertificate(block.Bytes)
		}
	}
	return nil, errors.New("there is no certificate in it")
}
