// Package cookie is DNS cookies (RFC 7873): what a client gets with a reply and sends with its next
// query, which proves that its address is its own.
package cookie

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"time"
)

const (
	clientSize = 8 // of a client's part
	serverSize = 16
	minServer  = 8 // of others' cookies
	maxServer  = 32
	version    = 1
	lifetime   = time.Hour       // of a cookie
	ahead      = 5 * time.Minute // how far its time may be in the future
)

// Secret makes cookies and knows them again.
type Secret struct{ key [32]byte }

// New returns a secret of its own: cookies are good until the process ends.
func New() *Secret {
	s := &Secret{}
	rand.Read(s.key[:]) // it cannot fail
	return s
}

// Legal says whether a query's cookie has one of the legal sizes.
func Legal(cookie []byte) bool {
	server := len(cookie) - clientSize
	return server == 0 || server >= minServer && server <= maxServer
}

// Answer returns the cookie for the reply to a query with a legal one, and whether that proves that
// the client is at the address.
func (s *Secret) Answer(cookie []byte, client netip.Addr, now time.Time) (fresh []byte, proven bool) {
	fresh = append(make([]byte, 0, clientSize+serverSize), cookie[:clientSize]...)
	fresh = append(fresh, version, 0, 0, 0)
	fresh = binary.BigEndian.AppendUint32(fresh, uint32(now.Unix()))
	fresh = append(fresh, s.hash(fresh, client)...)
	if len(cookie) != clientSize+serverSize || cookie[clientSize] != version {
		return fresh, false
	}
	signed := cookie[:clientSize+8]
	age := now.Sub(time.Unix(int64(binary.BigEndian.Uint32(signed[clientSize+4:])), 0))
	return fresh, age < lifetime && age > -ahead && hmac.Equal(cookie[clientSize+8:], s.hash(signed, client))
}

// hash binds the cookie up to its time to the client.
func (s *Secret) hash(signed []byte, client netip.Addr) []byte {
	mac := hmac.New(sha256.New, s.key[:])
	mac.Write(signed)
	mac.Write(client.Unmap().AsSlice())
	return mac.Sum(nil)[:8]
}
