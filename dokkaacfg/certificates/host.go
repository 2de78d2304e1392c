package certificates

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/dokkaa/dokkaa/internal/certificate"
)

// Host is one of the cluster's.
type Host struct {
	Private netip.Addr   // by which the others reach it
	Open    []netip.Addr // further ones on which its gateway answers
}

// File is one that a host has to have.
type File struct {
	Name    string // below the directory of all certificates: <daemon>/<file>
	Content []byte
}

// kind is a file of each host's.
type kind struct {
	name     string
	bundle   bool // of the authorities that are believed; else a certificate
	byEtcd   bool // which kind of authorities
	role     certificate.Role
	isServer bool
}

// kinds are a directory for each daemon, with those of its own alone.
var kinds = []kind{
	{name: "etcd/ca.pem", bundle: true, byEtcd: true},
	{name: "gateway/etcd-ca.pem", bundle: true, byEtcd: true},
	{name: "gateway/ca.pem", bundle: true},
	{name: "conductor/ca.pem", bundle: true},
	{name: "skydns/ca.pem", bundle: true},
	{name: "etcd/etcd.pem", byEtcd: true, role: certificate.Member, isServer: true},
	{name: "gateway/etcd.pem", byEtcd: true, role: certificate.Gateway},
	{name: "gateway/gateway.pem", role: certificate.Gateway, isServer: true},
	{name: "conductor/conductor.pem", role: certificate.Conductor},
	{name: "skydns/skydns.pem", role: certificate.Skydns},
}

// Due are the files that have to be written to a host that has these, by name, whose certificates it is
// enough to know: those that are missing, from another authority, for other addresses, or of whose life
// less than a third is left. With anew all certificates are made anew.
func (a Authorities) Due(host Host, has map[string][]byte, anew bool, now time.Time) ([]File, error) {
	var due []File
	for _, k := range kinds {
		by := a.by(k)
		if k.bundle {
			if text := bundle(by); !bytes.Equal(has[k.name], text) {
				due = append(due, File{k.name, text})
			}
			continue
		}
		subject := k.subject(host)
		if !anew && isGood(has[k.name], subject, by[0], now) {
			continue
		}
		text, err := by[0].Issue(subject, now)
		if err != nil {
			return nil, err
		}
		due = append(due, File{k.name, text})
	}
	return due, nil
}

func (a Authorities) by(k kind) []*certificate.Authority {
	if k.byEtcd {
		return a.etcd
	}
	return a.gateways
}

func (k kind) subject(host Host) certificate.Subject {
	s := certificate.Subject{Role: k.role, Name: host.Private.String(), Serves: k.isServer, Addresses: []netip.Addr{host.Private}}
	switch {
	case k.role == certificate.Member:
		s.Name = certificate.MemberName
	case k.isServer:
		s.Addresses = append(s.Addresses, host.Open...)
	}
	return s
}

// isGood tells whether the certificate will do.
func isGood(text []byte, want certificate.Subject, by *certificate.Authority, now time.Time) bool {
	cert, err := certificate.Parse(text)
	return err == nil && by.Issued(cert) && certificate.RoleOf(cert) == want.Role && cert.Subject.CommonName == want.Name &&
		slices.EqualFunc(cert.IPAddresses, want.Addresses, func(has net.IP, want netip.Addr) bool { return has.String() == want.String() }) &&
		now.After(cert.NotBefore) && cert.NotAfter.Sub(now) >= certificate.Life/3
}

// Issued is a certificate that a host has.
type Issued struct {
	File    string
	Role    certificate.Role
	Name    string
	Ends    time.Time
	Trouble string // why it will not do; "" for none
}

// List tells of the certificates that a host has.
func (a Authorities) List(has map[string][]byte, now time.Time) []Issued {
	var all []Issued
	for _, k := range kinds {
		if k.bundle {
			continue
		}
		one := Issued{File: k.name, Role: k.role}
		switch cert, err := certificate.Parse(has[k.name]); {
		case len(has[k.name]) == 0:
			one.Trouble = "missing"
		case err != nil:
			one.Trouble = fmt.Sprintf("cannot be read: %v", err)
		default:
			one.Name, one.Ends, one.Trouble = cert.Subject.CommonName, cert.NotAfter, a.trouble(k, cert, now)
		}
		all = append(all, one)
	}
	return all
}

func (a Authorities) trouble(k kind, cert *x509.Certificate, now time.Time) string {
	issued := func(by *certificate.Authority) bool { return by.Issued(cert) }
	switch {
	case !slices.ContainsFunc(a.by(k), issued):
		return "from an authority that is not the cluster's"
	case now.After(cert.NotAfter):
		return "ended"
	case now.Before(cert.NotBefore):
		return "not valid yet"
	}
	return ""
}
