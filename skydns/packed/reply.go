package packed

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// MaxSize is the largest reply that is sent over UDP, whatever the client says that it takes, and
// what an OPT record says that this server takes.
const MaxSize = 4096

// maxRecords is how many records a section of a packed reply may have: more addresses than fit
// into any.
const maxRecords = 255

// Reply answers the questions of one type about one name, or about all names that do not exist. It
// does not change.
type Reply struct {
	third, fourth byte // of the header
	shuffle       bool
	until         int64 // Unix time; 0: for ever

	answers    []byte // records without their owner, which is the question's name
	additional []byte // likewise, without their owners
	authority  []byte // records with pointers to the domain, which the question's name ends with
	ends       []uint16
	owners     []uint8  // of the additional records: the answer whose target it is, or ofQuestion
	pointers   []uint16 // places in authority
	domain     int      // size of the domain's name
	count      [3]uint8 // of the answers, the records of authority, and the additional ones
}

// ofQuestion is the owner that an additional record shares with the answers.
const ofQuestion = maxRecords

// Slots is how many types of questions, those that nearly all are of, have replies that are kept.
const Slots = 3

// Slot is where the reply to a type of question is kept; false if none is.
func Slot(qtype uint16) (slot int, ok bool) {
	switch qtype {
	case dns.TypeA:
		return 0, true
	case dns.TypeAAAA:
		return 1, true
	case dns.TypeSRV:
		return 2, true
	}
	return 0, false
}

// New packs a reply, which is good until the given time, or for ever if that is zero. With
// shuffle, the answers are in another order each time. It returns false for a reply that is not
// simple enough: where records that answer belong to other names than the asked one, records that
// are additional to others than those answers point at, or the authority is not an SOA record.
func New(reply *dns.Msg, shuffle bool, until time.Time) (*Reply, bool) {
	if len(reply.Question) != 1 || len(reply.Answer) > maxRecords || len(reply.Extra) > maxRecords || len(reply.Ns) > 1 {
		return nil, false
	}
	r := &Reply{
		third: bitResponse, fourth: byte(reply.Rcode), shuffle: shuffle,
		count: [3]uint8{uint8(len(reply.Answer)), uint8(len(reply.Ns)), uint8(len(reply.Extra))},
	}
	if !until.IsZero() {
		r.until = until.Unix()
	}
	if reply.Authoritative {
		r.third |= bitAuthority
	}
	if reply.RecursionAvailable {
		r.fourth |= bitAvailable
	}
	ok := reply.Rcode <= 0x0f && r.addAnswers(reply) && r.addAdditional(reply) && r.addAuthority(reply)
	return r, ok
}

func (r *Reply) addAnswers(reply *dns.Msg) bool {
	for _, rr := range reply.Answer {
		if !strings.EqualFold(rr.Header().Name, reply.Question[0].Name) || rr.Header().Rrtype != reply.Question[0].Qtype {
			return false
		}
		var ok bool
		if r.answers, ok = appendRecord(r.answers, rr); !ok {
			return false
		}
		r.ends = append(r.ends, uint16(len(r.answers)))
	}
	return true
}

func (r *Reply) addAdditional(reply *dns.Msg) bool {
	for _, rr := range reply.Extra {
		owner := ofQuestion
		if !strings.EqualFold(rr.Header().Name, reply.Question[0].Name) {
			owner = slices.IndexFunc(reply.Answer, func(answer dns.RR) bool {
				srv, ok := answer.(*dns.SRV)
				return ok && strings.EqualFold(srv.Target, rr.Header().Name)
			})
		}
		if owner < 0 {
			return false
		}
		var ok bool
		if r.additional, ok = appendRecord(r.additional, rr); !ok {
			return false
		}
		r.owners = append(r.owners, uint8(owner))
		r.ends = append(r.ends, uint16(len(r.additional)))
	}
	return true
}

func (r *Reply) addAuthority(reply *dns.Msg) bool {
	if len(reply.Ns) == 0 {
		return true
	}
	soa, ok := reply.Ns[0].(*dns.SOA)
	if !ok || !dns.IsSubDomain(soa.Hdr.Name, reply.Question[0].Name) {
		return false
	}
	domain, ok := wireName(soa.Hdr.Name)
	if !ok {
		return false
	}
	r.domain = len(domain)
	r.appendName(domain, domain)
	fixed, ok := appendRecord(nil, soa)
	if !ok {
		return false
	}
	r.authority = append(r.authority, fixed[:8]...) // type, class and TTL
	size := len(r.authority)
	r.authority = append(r.authority, 0, 0)
	for _, name := range []string{soa.Ns, soa.Mbox} {
		wire, ok := wireName(name)
		if !ok {
			return false
		}
		r.appendName(wire, domain)
	}
	r.authority = append(r.authority, fixed[len(fixed)-5*4:]...) // the five numbers
	binary.BigEndian.PutUint16(r.authority[size:], uint16(len(r.authority)-size-2))
	return true
}

// appendName appends a name to authority, with a pointer in place of the domain that it ends with.
func (r *Reply) appendName(name, domain []byte) {
	above, ok := strings.CutSuffix(string(name), string(domain))
	if !ok {
		r.authority = append(r.authority, name...)
		return
	}
	r.authority = append(r.authority, above...)
	r.pointers = append(r.pointers, uint16(len(r.authority)))
	r.authority = append(r.authority, 0, 0)
}

// wireName is a name as it is written in full in a packet.
func wireName(name string) (wire []byte, ok bool) {
	wire = make([]byte, maxName)
	end, err := dns.PackDomainName(name, wire, 0, nil, false)
	return wire[:end], err == nil
}

// appendRecord appends what follows a record's owner: type, class, TTL, size and data.
func appendRecord(dst []byte, rr dns.RR) (appended []byte, ok bool) {
	wire := make([]byte, dns.Len(rr))
	end, err := dns.PackRR(rr, wire, 0, nil, false)
	if err != nil {
		return nil, false
	}
	_, owner, err := dns.UnpackDomainName(wire, 0)
	if err != nil || len(dst)+end > 1<<16-1 {
		return nil, false
	}
	return append(dst, wire[owner:end]...), true
}
