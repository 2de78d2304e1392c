// Package msg is the SkyDNS record format: what stands in etcd below /skydns, and where.
package msg

import (
	"strings"
)

// Service is the JSON value of a record key, in the format of SkyDNS 2.
type Service struct {
	Host     string `json:"host"`
	Port     int    `json:"port,omitempty"`
	Priority int    `json:"priority,omitempty"`
	Weight   int    `json:"weight,omitempty"`
	TTL      uint32 `json:"ttl,omitempty"` // seconds
}

// Key is the etcd key of a domain name: below prefix, its labels from the right.
// Key("skydns", "Web.shop.skydns.local.") is "/skydns/local/skydns/shop/web".
func Key(prefix, name string) string {
	labels := strings.Split(strings.TrimSuffix(strings.ToLower(name), "."), ".")
	var b strings.Builder
	b.WriteString("/" + prefix)
	for i := len(labels) - 1; i >= 0; i-- {
		b.WriteString("/" + labels[i])
	}
	return b.String()
}
