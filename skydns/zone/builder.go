package zone

import (
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/skydns/msg"
	"github.com/miekg/dns"
)

// Entry is a key of the store.
type Entry struct {
	Key      string
	Value    string
	TTL      time.Duration // that was left when the key was read, 0 if it has none
	Modified uint64        // changes whenever the key is written
}

// Problem is a value that could not be used.
type Problem struct {
	Key string
	Err error
}

// Builder makes zones from listings of the store, one after the other. It parses a value,
// complains about it, and starts the clock of its key's TTL, only once. It is not for
// concurrent use.
type Builder struct {
	prefix string
	parsed map[string]entry
}

// entry is a key as it was parsed.
type entry struct {
	modified uint64
	value    string
	sortKey  string
	name     string // lower-case
	record   Record
}

// NewBuilder returns a Builder for the keys below prefix, which has no slash at its ends.
func NewBuilder(prefix string) *Builder { return &Builder{prefix: prefix} }

// Build makes the zone of the entries. The TTLs of those that the Builder sees for the first
// time count from now, and it is their problems that it returns.
func (b *Builder) Build(entries iter.Seq[Entry], now time.Time) (*Zone, []Problem) {
	parsed := make(map[string]entry, len(b.parsed))
	sorted := make([]entry, 0, len(b.parsed))
	var problems []Problem
	for raw := range entries {
		e, known := b.parsed[raw.Key]
		if !known || e.modified != raw.Modified || e.value != raw.Value {
			var err error
			if e, err = b.parse(raw, now); err != nil {
				problems = append(problems, Problem{Key: raw.Key, Err: err})
			}
		}
		parsed[raw.Key] = e
		if e.name != "" {
			sorted = append(sorted, e)
		}
	}
	b.parsed = parsed
	slices.SortStableFunc(sorted, func(x, y entry) int { return strings.Compare(x.sortKey, y.sortKey) })

	zone := &Zone{records: make([]Record, len(sorted))}
	names := make([]string, len(sorted))
	for i, e := range sorted {
		zone.records[i], names[i] = e.record, e.name
	}
	zone.index(names)
	return zone, problems
}

func (b *Builder) parse(raw Entry, now time.Time) (entry, error) {
	e := entry{modified: raw.Modified, value: raw.Value}
	name, ok := msg.Name(b.prefix, raw.Key)
	if !ok {
		return e, nil // not a record's key, such as one of the configuration
	}
	var err error
	e.record, err = parseRecord(name, raw.Value)
	if raw.TTL > 0 {
		e.record.Expires = now.Add(raw.TTL)
	}
	e.name = strings.ToLower(name)
	labels := dns.SplitDomainName(e.name)
	slices.Reverse(labels)
	e.sortKey = strings.Join(labels, "\x00")
	return e, err
}
