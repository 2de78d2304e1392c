package skydns

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/skydns/answer"
	"github.com/dokkaa/dokkaa/skydns/msg"
	"github.com/dokkaa/dokkaa/skydns/zone"
	"github.com/miekg/dns"
)

const (
	// readTimeout is how long the store may take to show a key that it does not list.
	readTimeout = 2 * time.Second
	// maxReads is how many such keys may be read at one time, so that a flood of questions does
	// not become one of the store.
	maxReads = 16
	// readKept is how long what was read is good for, and maxKept how much of it is kept.
	readKept = time.Second
	maxKept  = 1000
)

var errReads = errors.New("too many keys are being read")

// lister reads a key, or a directory, of the store.
type lister interface {
	List(ctx context.Context, dir string) (store.Listing, error)
}

// unlisted finds the records of names like _http._tcp.shop: etcd neither lists keys that begin
// with an underscore nor tells of their changes, so that a mirror cannot have them. Each such key
// is read when it is asked for.
type unlisted struct {
	lister  lister
	prefix  string
	builder *zone.Builder
	slots   chan struct{}

	mu   sync.Mutex
	kept map[string]glimpse // by name
}

// glimpse is what was read at one name.
type glimpse struct {
	zone *zone.Zone
	at   time.Time
}

func newUnlisted(l lister, prefix string) *unlisted {
	return &unlisted{
		lister: l, prefix: prefix, builder: zone.NewBuilder(prefix),
		slots: make(chan struct{}, maxReads), kept: map[string]glimpse{},
	}
}

// overlay is a zone with the unlisted names over it, for one question. After that err says why a
// name could not be read: then nothing is known of it.
type overlay struct {
	answer.Zone
	ctx      context.Context
	unlisted *unlisted
	err      error
}

// Find implements answer.Zone.
func (o *overlay) Find(name string) *zone.Node {
	if node := o.Zone.Find(name); node != nil || !isUnlisted(name) {
		return node
	}
	z, err := o.unlisted.read(o.ctx, dns.CanonicalName(name))
	if err != nil {
		o.err = err
		return nil
	}
	return z.Find(name)
}

// isUnlisted says whether etcd hides the name's key. Names with odd characters have none.
func isUnlisted(name string) bool {
	return (strings.HasPrefix(name, "_") || strings.Contains(name, "._")) && !strings.ContainsAny(name, `\/`)
}

// read returns a zone of the records of name and of those below it.
func (u *unlisted) read(ctx context.Context, name string) (*zone.Zone, error) {
	now := time.Now()
	u.mu.Lock()
	seen, ok := u.kept[name]
	u.mu.Unlock()
	if ok && now.Sub(seen.at) < readKept {
		return seen.zone, nil
	}
	select {
	case u.slots <- struct{}{}:
		defer func() { <-u.slots }()
	default:
		return nil, errReads
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	listing, err := u.lister.List(ctx, msg.Key(u.prefix, name))
	if err != nil {
		return nil, err
	}
	// Problems are not logged: clients choose what is read, and how often.
	z, _ := u.builder.Build(&zone.Zone{}, listed(listing), now)
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.kept) >= maxKept {
		clear(u.kept)
	}
	u.kept[name] = glimpse{z, now}
	return z, nil
}
