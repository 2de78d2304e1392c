// Package msg is the SkyDNS record format: what stands in etcd below /skydns, and where.
package msg

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// Service is the JSON value of a record key, in the format of SkyDNS 2.
type Service struct {
	Host        string `json:"host,omitempty"` // an address or a domain name
	Port        int    `json:"port,omitempty"`
	Priority    int    `json:"priority,omitempty"`
	Weight      int    `json:"weight,omitempty"`
	Text        string `json:"text,omitempty"`
	Mail        bool   `json:"mail,omitempty"`        // the service is an MX too
	TTL         uint32 `json:"ttl,omitempty"`         // seconds
	TargetStrip int    `json:"targetstrip,omitempty"` // labels taken off a made-up target
	Group       string `json:"group,omitempty"`       // keeps a subtree out of its parent's answers
}

// ErrUnreadable says that a value is no service at all.
var ErrUnreadable = errors.New("not the JSON of a service")

// Parse reads a record key's value. It ignores unknown fields, and refuses numbers that DNS
// cannot express: a port cut to 16 bits would send clients to a wrong one.
func Parse(value string) (Service, error) {
	var s Service
	if err := json.Unmarshal([]byte(value), &s); err != nil {
		return Service{}, fmt.Errorf("parse record: %w: %w", ErrUnreadable, err)
	}
	switch {
	case s.Port < 0 || s.Port > math.MaxUint16:
		return Service{}, fmt.Errorf("parse record: port %d is not between 0 and 65535", s.Port)
	case s.Priority < 0 || s.Priority > math.MaxUint16:
		return Service{}, fmt.Errorf("parse record: priority %d is not between 0 and 65535", s.Priority)
	case s.Weight < 0 || s.Weight > math.MaxInt32:
		return Service{}, fmt.Errorf("parse record: weight %d is out of range", s.Weight)
	case s.TTL > math.MaxInt32: // RFC 2181: readers take it for 0
		return Service{}, fmt.Errorf("parse record: ttl %d is out of range", s.TTL)
	case s.TargetStrip < 0:
		return Service{}, errors.New("parse record: targetstrip is negative")
	}
	return s, nil
}
