package zone

import (
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/skydns/msg"
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

// Change is what became of a key.
type Change struct {
	Entry
	Deleted bool // then only the Key counts
}

// Builder makes zones of the keys below a prefix, each from the one before. A record whose key was
// not written in between is the same one: its value is parsed, and complained about, only once,
// and the time that is left to it counts from when it was first seen.
type Builder struct {
	prefix string
}

// NewBuilder returns a Builder for the keys below prefix, which has no slash at its ends.
func NewBuilder(prefix string) *Builder { return &Builder{prefix: prefix} }

// Build makes the zone of exactly the entries.
func (b *Builder) Build(last *Zone, entries iter.Seq[Entry], now time.Time) (*Zone, []Problem) {
	next, problems := &Zone{}, []Problem(nil)
	for e := range entries {
		name, labels, ok := b.name(e.Key)
		if !ok {
			continue
		}
		r, err := record(last, name, labels, e, now)
		if err != nil {
			problems = append(problems, Problem{Key: e.Key, Err: err})
		}
		next = next.with(labels, e.Key, r)
	}
	return next, problems
}

// Apply makes the zone that the changes make of the last one, in a time that depends on their
// number and hardly on that of the records.
func (b *Builder) Apply(last *Zone, changes iter.Seq[Change], now time.Time) (*Zone, []Problem) {
	next, problems := last, []Problem(nil)
	for c := range changes {
		name, labels, ok := b.name(c.Key)
		if !ok {
			continue
		}
		var r *Record
		if !c.Deleted {
			var err error
			if r, err = record(last, name, labels, c.Entry, now); err != nil {
				problems = append(problems, Problem{Key: c.Key, Err: err})
			}
		}
		next = next.with(labels, c.Key, r)
	}
	return next, problems
}

// record returns the last zone's record of an entry if it has it, else a new one.
func record(last *Zone, name string, labels []string, e Entry, now time.Time) (*Record, error) {
	if last.root != nil {
		if r := last.root.find(labels, e.Key); r != nil && r.modified == e.Modified && r.value == e.Value {
			return r, nil
		}
	}
	r, err := parseRecord(name, e.Value)
	r.Key, r.modified, r.value = e.Key, e.Modified, e.Value
	if e.TTL > 0 {
		r.Expires = now.Add(e.TTL)
	}
	return &r, err
}

// name is the name that a key stands for, and its labels from the right; ok is false if it stands
// for none.
func (b *Builder) name(key string) (name string, labels []string, ok bool) {
	if name, ok = msg.Name(b.prefix, key); !ok {
		return "", nil, false
	}
	path := lower(strings.TrimPrefix(key, "/"+b.prefix+"/"))
	for element := range strings.SplitSeq(path, "/") {
		first := len(labels)
		labels = append(labels, strings.Split(element, ".")...)
		slices.Reverse(labels[first:])
	}
	return name, labels, true
}

func (z *Zone) with(labels []string, key string, r *Record) *Zone {
	root := z.root
	if root == nil {
		root = &Node{}
	}
	return &Zone{root: root.with(labels, key, r)}
}

// lower is s with what DNS does not tell apart, the letters of ASCII, in lower case.
func lower(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return 'A' <= r && r <= 'Z' }) {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		b[i] = lowerByte(c)
	}
	return string(b)
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
