package agent

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// Timing of the publisher.
const (
	publishRetry = time.Second // after the store could not be read or written
	// publishResync is the time between two looks at what really stands in the store, so about as
	// long is away what somebody deleted by hand. Each costs a list of the cluster's records, so
	// where there are many it is longer by publishRecord for each: all hosts look.
	publishResync = 10 * time.Second
	publishRecord = 10 * time.Millisecond
	publishList   = 10 * time.Second
)

// keyStore is what the publisher needs of the store.
type keyStore interface {
	List(ctx context.Context, dir string) (store.Listing, error)
	Set(ctx context.Context, key, value string, ttl time.Duration) (store.Node, error)
	Delete(ctx context.Context, key string) error
	DeleteEmptyDir(ctx context.Context, dir string) error
}

// publisher makes this host's keys in the store what is wished: the observed states of its
// instances, the DNS records of their services and the volumes. It owns exactly these keys, and removes
// those among them that are not wanted, also those that an earlier process left. A key that the
// store refuses holds up no other.
type publisher struct {
	store  keyStore
	hostIP string
	known  func() bool // whether the store is known to be this cluster's
	log    *slog.Logger
	done   func() // called after keys changed in the store, or were refused; must not block
	// published is called after a key that held was, "" for nothing, was written; must not block.
	published func(key, was, value string)

	hint chan struct{}

	mu       sync.Mutex
	wished   wish
	writing  string              // the key that a write is under way of
	stored   map[string]string   // nil while not known
	stale    bool                // stored is to be read again
	doubt    bool                // what is stored may be about to be taken away by somebody
	refusals map[string]*refusal // by key
	records  int                 // of the cluster, when they were listed last
	emptied  map[string]bool     // directories that a record was taken away from
}

func newPublisher(s keyStore, hostIP string, known func() bool, log *slog.Logger, done func()) *publisher {
	return &publisher{store: s, hostIP: hostIP, known: known, log: log, done: done, hint: make(chan struct{}, 1),
		published: func(string, string, string) {},
		refusals:  map[string]*refusal{}, emptied: map[string]bool{}}
}

// want sets what is to be published. It does not block.
func (p *publisher) want(w wish) {
	p.mu.Lock()
	changed := p.wished.entries == nil || !p.wished.equal(w)
	p.wished = w
	maps.DeleteFunc(p.refusals, func(key string, _ *refusal) bool {
		_, wanted := w.entries[key]
		_, stored := p.stored[key]
		return !wanted && !stored
	})
	p.mu.Unlock()
	if changed {
		p.wake()
	}
}

// again has every key written again that is wanted, also where the store holds it: somebody who
// took this host for lost may be deleting what he saw there.
func (p *publisher) again() {
	p.distrust(true)
	p.wake()
}

func (p *publisher) wake() {
	select {
	case p.hint <- struct{}{}:
	default: // a look is due already
	}
}

// withdrawn tells whether the store surely holds no record of the instance, and will get none.
func (p *publisher) withdrawn(instance string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stored == nil || p.wished.kept[instance] || recordOf(p.writing) == instance {
		return false
	}
	for key := range p.stored {
		if recordOf(key) == instance {
			return false
		}
	}
	for key := range p.wished.entries {
		if recordOf(key) == instance {
			return false
		}
	}
	return true
}

// holds tells whether the store surely holds all these values.
func (p *publisher) holds(values map[string]string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, value := range values {
		if held, there := p.stored[key]; !there || held != value {
			return false
		}
	}
	return p.stored != nil || len(values) == 0
}

// has tells whether the store surely holds the key, lacks whether it surely does not.
func (p *publisher) has(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, there := p.stored[key]
	return there && p.writing != key
}

func (p *publisher) lacks(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, there := p.stored[key]
	_, wished := p.wished.entries[key]
	return p.stored != nil && !there && !wished && p.writing != key
}

// recordOf is the instance that a key is a record of, "" if it is none.
func recordOf(key string) string {
	if !state.IsInstanceRecord(key) {
		return ""
	}
	return key[strings.LastIndexByte(key, '/')+1:]
}

// run publishes until ctx ends.
func (p *publisher) run(ctx context.Context) {
	look := time.Now().Add(jitter(publishResync))
	failing := false
	for {
		retry, err := p.pass(ctx)
		if err != nil && ctx.Err() == nil {
			if !failing { // an outage is said once
				p.log.Warn("publish", "err", err)
			}
			retry = time.Now().Add(publishRetry)
		}
		failing = err != nil
		wake := look
		if !retry.IsZero() && retry.Before(wake) {
			wake = retry
		}
		select {
		case <-ctx.Done():
			return
		case <-p.hint:
		case <-time.After(time.Until(wake)):
		}
		if now := time.Now(); !now.Before(look) {
			p.mu.Lock()
			look = now.Add(jitter(publishResync + time.Duration(p.records)*publishRecord))
			p.stale = true
			p.mu.Unlock()
		}
	}
}

// jitter takes up to a quarter off, so that hosts do not act at the same moment.
func jitter(d time.Duration) time.Duration { return d - time.Duration(rand.Int64N(int64(d)/4)) }

// errUnknown says that what would be written might be written into another cluster's store.
var errUnknown = errors.New("etcd is not known to be this cluster's")

// pass writes every difference, but for keys that are not to be tried again yet: retry is when
// the first of them is. After an error what the store holds counts as unknown.
func (p *publisher) pass(ctx context.Context) (retry time.Time, err error) {
	if !p.known() {
		p.distrust(false)
		return retry, errUnknown
	}
	p.mu.Lock()
	wished, fresh, doubt := p.wished.entries, p.stored != nil && !p.stale && !p.doubt, p.doubt
	if wished != nil {
		p.doubt = false
	}
	p.mu.Unlock()
	if wished == nil {
		return retry, nil
	}
	if !fresh {
		stored, records, err := p.load(ctx)
		if err != nil {
			p.distrust(doubt)
			return retry, err
		}
		p.mu.Lock()
		p.stored, p.stale, p.records = stored, false, records
		p.mu.Unlock()
	}
	var errs []error
	for _, key := range p.keys() {
		if write := p.begin(key, doubt); write != nil {
			errs = append(errs, p.end(key, write(ctx)))
		}
	}
	if err := errors.Join(errs...); err != nil {
		p.distrust(doubt)
		return retry, err
	}
	return p.nextRetry(), p.prune(ctx)
}

// keys are all that are or should be in the store, in a fixed order: records and volumes first, for
// the states of instances say of them.
func (p *publisher) keys() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := map[string]bool{}
	for key := range p.wished.entries {
		all[key] = true
	}
	for key := range p.stored {
		all[key] = true
	}
	return slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a, b))
	})
}

func rank(key string) int {
	if k, ok := state.ParseHostKey(key); ok && k.Kind == "instances" {
		return 1
	}
	return 0
}

// begin returns what is to be done for the key as things are now, nil for nothing. With doubt
// what is there is written again.
func (p *publisher) begin(key string, doubt bool) func(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.refusals[key]; r != nil && r.notBefore.After(time.Now()) {
		return nil
	}
	e, wanted := p.wished.entries[key]
	held, there := p.stored[key]
	if !wanted {
		if !there || p.wished.keeps(key) {
			return nil
		}
		p.writing = key
		return func(ctx context.Context) error { return p.remove(ctx, key) }
	}
	value := e.value
	if there && e.keep {
		value = held
	}
	if value == "" || there && held == value && !doubt {
		return nil
	}
	p.writing = key
	return func(ctx context.Context) error { return p.put(ctx, key, value) }
}

// end takes in how what begin returned ended. A refusal is noted, another error is returned.
func (p *publisher) end(key string, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writing = ""
	switch {
	case err == nil:
		delete(p.refusals, key)
		return nil
	case refused(err):
		p.refuse(key, err)
		return nil
	}
	p.stored = nil // before anybody may conclude from it: the write may have happened
	return err
}

func (p *publisher) put(ctx context.Context, key, value string) error {
	if _, err := p.store.Set(ctx, key, value, 0); err != nil {
		return err
	}
	p.mu.Lock()
	was := p.stored[key]
	if p.stored != nil {
		p.stored[key] = value
	}
	p.mu.Unlock()
	p.published(key, was, value)
	p.done()
	return nil
}

func (p *publisher) remove(ctx context.Context, key string) error {
	if err := p.store.Delete(ctx, key); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	p.mu.Lock()
	delete(p.stored, key)
	if recordOf(key) != "" {
		p.emptied[path.Dir(key)] = true
	}
	p.mu.Unlock()
	p.done()
	return nil
}

// prune removes the directories of services, and of apps, that have no record any more: names may
// come and go for ever. It goes up from where a record was until there is one left.
func (p *publisher) prune(ctx context.Context) error {
	p.mu.Lock()
	services := slices.Sorted(maps.Keys(p.emptied))
	p.mu.Unlock()
	for _, service := range services {
		for dir := service; dir != state.RecordsDir; dir = path.Dir(dir) {
			if err := p.store.DeleteEmptyDir(ctx, dir); err != nil && !refused(err) {
				return err
			}
		}
		p.mu.Lock()
		delete(p.emptied, service)
		p.mu.Unlock()
	}
	return nil
}

// distrust forgets what the store holds, and with doubt has all of it written again.
func (p *publisher) distrust(doubt bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stored, p.doubt = nil, p.doubt || doubt
}
