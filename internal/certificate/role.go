// Package certificate is what the parts of a cluster prove to each other who they are with: the
// authorities that an operator keeps, the certificates that they issue, and the files that daemons read
// these from, again whenever they change.
package certificate

import (
	"crypto/x509"
	"slices"
)

// Role is what the holder of a certificate may do. It stands in the certificate's subject as its
// organizational unit; the common name says who the holder is.
type Role string

// Roles. What each may do is the gateway's to say; members know etcd's.
const (
	Operator  Role = "operator"
	Conductor Role = "conductor"
	Skydns    Role = "skydns"
	Gateway   Role = "gateway"
	Member    Role = "etcd"
)

// MemberName is the common name of all etcd members' certificates: by it they tell each other from the
// clients that the same authority vouches for.
const MemberName = "etcd"

// RoleOf is the role that a certificate gives, "" for none.
func RoleOf(cert *x509.Certificate) Role {
	units := cert.Subject.OrganizationalUnit
	roles := []Role{Operator, Conductor, Skydns, Gateway, Member}
	if len(units) == 1 && slices.Contains(roles, Role(units[0])) {
		return Role(units[0])
	}
	return ""
}
