package skydns

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// document is the JSON at /<path-prefix>/config, in the format of SkyDNS 2. What it has overrides
// the settings of the process.
type document struct {
	Addr        *string  `json:"dns_addr"`
	Domain      *string  `json:"domain"`
	Nameservers []string `json:"nameservers"`
	TTL         *uint32  `json:"ttl"`
	MinTTL      *uint32  `json:"min_ttl"`
	Priority    *uint16  `json:"priority"`
	RoundRobin  *bool    `json:"round_robin"`
	NSRotate    *bool    `json:"ns_rotate"`
	NoRec       *bool    `json:"no_rec"`
	ReadTimeout *int64   `json:"read_timeout"` // nanoseconds
	Ndot        *int     `json:"ndot"`         // what SkyDNS reads
	Ndots       *int     `json:"ndots"`        // what its README says
	Hostmaster  *string  `json:"hostmaster"`
	Local       *string  `json:"local"`
	DNSSEC      *string  `json:"dnssec"`
	SCache      *int     `json:"scache"`
	RCache      *int     `json:"rcache"`
	RCacheTTL   *int     `json:"rcache_ttl"`
	Systemd     *bool    `json:"systemd"`
	Etcd3       *bool    `json:"etcd3"`
}

// with are the settings with those of the document at key over them. unknown are the document's
// fields that mean nothing: somebody meant something by them.
func (s *Settings) with(key, value string) (merged Settings, unknown []string, err error) {
	merged = *s
	if value == "" {
		return merged, nil, nil
	}
	var d document
	if err := json.Unmarshal([]byte(value), &d); err != nil {
		return merged, nil, fmt.Errorf("parse %s: %w", key, err)
	}
	merged.sources = make(map[string]string, len(s.sources))
	for name, source := range s.sources {
		merged.sources[name] = source
	}
	d.override(&merged, func(name string) { merged.sources[name] = key })
	if _, err := merged.config(); err != nil {
		return merged, nil, fmt.Errorf("parse %s: %w", key, err)
	}
	return merged, unknownFields(value), nil
}

// override puts what the document has over the settings, and tells note the names of these.
func (d *document) override(s *Settings, note func(name string)) {
	if d.Addr != nil {
		s.Addr = strings.Split(*d.Addr, ",")
		note("addr")
	}
	if d.Nameservers != nil {
		s.Nameservers = d.Nameservers
		note("nameservers")
	}
	if d.ReadTimeout != nil {
		s.RTimeout = time.Duration(*d.ReadTimeout)
		note("rtimeout")
	}
	override(&s.Domain, d.Domain, "domain", note)
	override(&s.TTL, d.TTL, "ttl", note)
	override(&s.MinTTL, d.MinTTL, "min-ttl", note)
	override(&s.Priority, d.Priority, "priority", note)
	override(&s.RoundRobin, d.RoundRobin, "round-robin", note)
	override(&s.NSRotate, d.NSRotate, "ns-rotate", note)
	override(&s.NoRec, d.NoRec, "no-rec", note)
	override(&s.Ndots, d.Ndots, "ndots", note)
	override(&s.Ndots, d.Ndot, "ndots", note)
	override(&s.Hostmaster, d.Hostmaster, "hostmaster", note)
	override(&s.Local, d.Local, "local", note)
	override(&s.DNSSEC, d.DNSSEC, "dnssec", note)
	override(&s.SCache, d.SCache, "scache", note)
	override(&s.RCache, d.RCache, "rcache", note)
	override(&s.RCacheTTL, d.RCacheTTL, "rcache-ttl", note)
	override(&s.Systemd, d.Systemd, "systemd", note)
	override(&s.Etcd3, d.Etcd3, "etcd3", note)
}

func override[T any](setting, value *T, name string, note func(string)) {
	if value != nil {
		*setting = *value
		note(name)
	}
}

// documentFields are the names in document.
var documentFields = []string{
	"dns_addr", "domain", "nameservers", "ttl", "min_ttl", "priority", "round_robin", "ns_rotate", "no_rec", "read_timeout",
	"ndot", "ndots", "hostmaster", "local", "dnssec", "scache", "rcache", "rcache_ttl", "systemd", "etcd3",
}

func unknownFields(value string) []string {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(value), &fields); err != nil {
		return nil // document could be parsed, so this is "null"
	}
	var unknown []string
	for name := range fields {
		if !slices.Contains(documentFields, strings.ToLower(name)) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}
