package answer

import (
	"context"
	"math/rand/v2"
	"strings"

	"github.com/dokkaa/dokkaa/skydns/zone"
	"github.com/miekg/dns"
)

const (
	// minRecordSize is the least that a record takes in a reply: the owner as a pointer, type,
	// class, TTL, length, and the address of an A record.
	minRecordSize = 16
	// maxRecords is how many records of a name are looked at: more cannot be told in a reply of
	// the largest size. Without a bound, who asks for a domain of many records takes the server's
	// time from all others.
	maxRecords = dns.MaxMsgSize/minRecordSize + 1
	// maxLookups bounds what one question may make of other names: aliases that point at names
	// with many aliases would branch without end.
	maxLookups = 100
)

// search is the work on one question.
type search struct {
	*Answerer
	ctx context.Context
	Query
	zone    Zone
	most    int  // records of one kind that can fit into the reply
	lookups int  // of other names that may still be done
	keep    bool // see Result
	partial bool // there are more records than were looked at
}

// find returns the records of name and of all names below it, in a slice of the caller's own. In
// name, a label * or any stands for any one label.
func (s *search) find(name string) (records []*zone.Record, ok bool) {
	if strings.HasPrefix(name, "_") || strings.Contains(name, "._") {
		s.keep = false // etcd lists no such names: who has the zone may know more next time
	}
	if hasWildcard(name) {
		s.keep = false
		return s.findAll(name)
	}
	node := s.zone.Find(name)
	if node == nil {
		return nil, false
	}
	return s.collect(make([]*zone.Record, 0, min(node.Len(), maxRecords)), node), true
}

// collect appends the records of a node and of all below it, up to maxRecords.
func (s *search) collect(records []*zone.Record, node *zone.Node) []*zone.Record {
	for r := range node.All() {
		if len(records) == maxRecords {
			s.partial, s.keep = true, false
			break
		}
		records = append(records, r)
	}
	return records
}

func isReadable(r *zone.Record) bool { return !r.Unreadable }

// services returns records without the repeated ones, shuffled: the order is the load balancing of
// clients that take the first. It changes records.
func (s *search) services(records []*zone.Record) []*zone.Record {
	services := withoutRepeated(records)
	if s.config.Shuffle {
		rand.Shuffle(len(services), func(i, j int) { services[i], services[j] = services[j], services[i] })
	}
	return services
}

// identity is what makes a service the same as another: two instances at one address and port are
// one to those who ask.
type identity struct {
	host, text             string
	port, priority, weight int
}

func identityOf(r *zone.Record) identity {
	return identity{r.Host, r.Text, r.Port, r.Priority, r.Weight}
}

// few is up to how many things comparing each with each is quicker than a map.
const few = 16

// withoutRepeated removes the unreadable records and, of equal ones, all but the first.
func withoutRepeated(records []*zone.Record) []*zone.Record {
	var seen map[identity]struct{}
	if len(records) > few {
		seen = make(map[identity]struct{}, len(records))
	}
	unique := records[:0]
	for _, r := range records {
		if r.Unreadable || repeated(r, unique, seen) {
			continue
		}
		unique = append(unique, r)
	}
	return unique
}

func repeated(r *zone.Record, before []*zone.Record, seen map[identity]struct{}) bool {
	id := identityOf(r)
	if seen != nil {
		n := len(seen)
		seen[id] = struct{}{}
		return len(seen) == n
	}
	for _, b := range before {
		if identityOf(b) == id {
			return true
		}
	}
	return false
}

// distinct removes repeated resource records, which several services may give.
func distinct(records []dns.RR) []dns.RR {
	if len(records) <= few {
		return distinctFew(records)
	}
	seen := make(map[content]struct{}, len(records))
	unique := records[:0]
	for _, rr := range records {
		n := len(seen)
		if seen[contentOf(rr)] = struct{}{}; len(seen) > n {
			unique = append(unique, rr)
		}
	}
	return unique
}

func distinctFew(records []dns.RR) []dns.RR {
	unique := records[:0]
next:
	for _, rr := range records {
		for _, before := range unique {
			if dns.IsDuplicate(rr, before) {
				continue next
			}
		}
		unique = append(unique, rr)
	}
	return unique
}

// content is what makes a resource record the same as another. Its TTL is no part of it.
type content struct {
	owner, name    string
	rtype, x, y, z uint16
}

func contentOf(rr dns.RR) content {
	c := content{owner: strings.ToLower(rr.Header().Name), rtype: rr.Header().Rrtype}
	switch rr := rr.(type) {
	case *dns.A:
		c.name = string(rr.A)
	case *dns.AAAA:
		c.name = string(rr.AAAA)
	case *dns.SRV:
		c.name, c.x, c.y, c.z = strings.ToLower(rr.Target), rr.Priority, rr.Weight, rr.Port
	case *dns.MX:
		c.name, c.x = strings.ToLower(rr.Mx), rr.Preference
	case *dns.NS:
		c.name = strings.ToLower(rr.Ns)
	case *dns.CNAME:
		c.name = strings.ToLower(rr.Target)
	case *dns.TXT:
		c.name = strings.Join(rr.Txt, "\x00")
	}
	return c
}

// header is that of a resource record made from r.
func (s *search) header(owner string, rtype uint16, r *zone.Record) dns.RR_Header {
	if !r.Expires.IsZero() {
		s.keep = false
	}
	return dns.RR_Header{Name: owner, Rrtype: rtype, Class: dns.ClassINET, Ttl: r.SecondsLeft(s.Now, s.config.TTL)}
}

// made tells who traces the search what rr was made from.
func (s *search) made(rr dns.RR, r *zone.Record) dns.RR {
	if s.Trace != nil {
		s.Trace(rr, r)
	}
	return rr
}

// cut returns no more records than fit into a reply.
func (s *search) cut(records []*zone.Record) []*zone.Record {
	if len(records) > s.most {
		s.keep = false
		return records[:s.most]
	}
	return records
}
