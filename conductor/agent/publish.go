package agent

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/skydns/msg"
)

// Timing of the publisher.
const (
	publishRetry  = time.Second     // after a failed write
	publishResync = 2 * time.Minute // between two looks at what really stands in the store
	publishList   = 10 * time.Second
)

// entry is what a key of this host is to hold.
type entry struct {
	value string
	// keep leaves what the key holds: nothing new is known. A value beside it is written only
	// if the key is not there.
	keep bool
}

// keyStore is what the publisher needs of the store.
type keyStore interface {
	List(ctx context.Context, dir string) (store.Listing, error)
	Set(ctx context.Context, key, value string, ttl time.Duration) (store.Node, error)
	Delete(ctx context.Context, key string) error
}

// publisher makes this host's keys in the store what is wanted: the observed states of its
// instances and the DNS records of their services. It owns exactly these keys, and removes
// those among them that are not wanted, also those that an earlier process left.
type publisher struct {
	store  keyStore
	hostIP string
	known  func() bool // whether the store is known to be this cluster's
	log    *slog.Logger
	done   func() // called after keys changed in the store; must not block

	hint chan struct{}

	mu     sync.Mutex
	wanted map[string]entry  // nil before the first want
	asked  int               // how often wanted was changed
	served int               // the value of asked that the store was last made to agree with
	stored map[string]string // nil while not known
	doubt  bool              // what is stored may be about to be taken away by somebody
}

func newPublisher(s keyStore, hostIP string, known func() bool, log *slog.Logger, done func()) *publisher {
	return &publisher{store: s, hostIP: hostIP, known: known, log: log, done: done, hint: make(chan struct{}, 1)}
}

// want sets what is to be published. It does not block.
func (p *publisher) want(entries map[string]entry) {
	p.mu.Lock()
	changed := p.wanted == nil || !maps.Equal(p.wanted, entries)
	p.wanted = entries
	if changed {
		p.asked++
	}
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

// withdrawn tells whether the store surely holds no record of the instance.
func (p *publisher) withdrawn(instance string) bool {
	p.mu.Lock()
	settled := p.stored != nil && p.served == p.asked
	p.mu.Unlock()
	return settled && len(p.records(instance)) == 0
}

// records are the keys of the instance's records that the store holds, as far as is known.
func (p *publisher) records(instance string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var keys []string
	for key := range p.stored {
		if strings.HasPrefix(key, state.RecordsDir+"/") && strings.HasSuffix(key, "/"+instance) {
			keys = append(keys, key)
		}
	}
	return keys
}

// run publishes until ctx ends.
func (p *publisher) run(ctx context.Context) {
	resync := time.NewTicker(publishResync)
	defer resync.Stop()
	failing := false
	for {
		var retry <-chan time.Time
		err := p.pass(ctx)
		if err != nil && ctx.Err() == nil {
			if !failing { // an outage is said once
				p.log.Warn("publish", "err", err)
			}
			retry = time.After(publishRetry)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-p.hint:
		case <-retry:
		case <-resync.C:
			p.forget()
		}
	}
}

// errUnknown says that what would be written might be written into another cluster's store.
var errUnknown = errors.New("etcd is not known to be this cluster's")

// pass writes every difference. After an error what the store holds counts as unknown.
func (p *publisher) pass(ctx context.Context) error {
	if !p.known() {
		p.forget()
		return errUnknown
	}
	p.mu.Lock()
	wanted, asked, stored, doubt := p.wanted, p.asked, p.stored, p.doubt
	if wanted != nil {
		p.doubt = false
	}
	p.mu.Unlock()
	if wanted == nil {
		return nil
	}
	if stored == nil || doubt {
		var err error
		if stored, err = p.load(ctx); err != nil {
			p.distrust(doubt)
			return err
		}
		p.mu.Lock()
		p.stored = stored
		p.mu.Unlock()
	}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		value := wanted[key].value
		held, there := p.held(key)
		if there && wanted[key].keep {
			value = held
		}
		if value == "" || there && held == value && !doubt {
			continue
		}
		errs = append(errs, p.put(ctx, key, value))
	}
	for _, key := range p.unwanted(wanted) {
		errs = append(errs, p.remove(ctx, key))
	}
	err := errors.Join(errs...)
	if err != nil {
		p.distrust(doubt)
		return err
	}
	p.mu.Lock()
	p.served = asked
	p.mu.Unlock()
	return nil
}

func (p *publisher) held(key string) (value string, there bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	value, there = p.stored[key]
	return value, there
}

func (p *publisher) unwanted(wanted map[string]entry) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var keys []string
	for key := range p.stored {
		if _, ok := wanted[key]; !ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (p *publisher) put(ctx context.Context, key, value string) error {
	if _, err := p.store.Set(ctx, key, value, 0); err != nil {
		return err
	}
	p.mu.Lock()
	if p.stored != nil {
		p.stored[key] = value
	}
	p.mu.Unlock()
	p.done()
	return nil
}

func (p *publisher) remove(ctx context.Context, key string) error {
	if err := p.store.Delete(ctx, key); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	p.mu.Lock()
	delete(p.stored, key)
	p.mu.Unlock()
	p.done()
	return nil
}

func (p *publisher) forget() { p.distrust(false) }

// distrust forgets what the store holds, and with doubt has all of it written again.
func (p *publisher) distrust(doubt bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stored, p.doubt = nil, p.doubt || doubt
}

// load reads which keys of this host are in the store.
func (p *publisher) load(ctx context.Context) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, publishList)
	defer cancel()
	stored := map[string]string{}
	instances, err := p.store.List(ctx, state.InstancesDir(p.hostIP))
	if err != nil {
		return nil, err
	}
	for _, node := range instances.Nodes {
		stored[node.Key] = node.Value
	}
	records, err := p.store.List(ctx, state.RecordsDir)
	if err != nil {
		return nil, err
	}
	for _, node := range records.Nodes {
		var record msg.Service
		if json.Unmarshal([]byte(node.Value), &record) == nil && record.Host == p.hostIP && state.IsInstanceRecord(node.Key) {
			stored[node.Key] = node.Value
		}
	}
	return stored, nil
}
