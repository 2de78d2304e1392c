package forward

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// CacheOptions bound what is kept of other nameservers' answers.
type CacheOptions struct {
	Entries        int           // 0: nothing is kept
	MinTTL, MaxTTL time.Duration // between which an answer is kept, whatever its TTL
	MaxNegativeTTL time.Duration
	MaxStale       time.Duration // how long after that it serves while no nameserver answers
}

// DefaultCache are the bounds where nobody sets others: what the TTLs say within reason, and a
// day's patience with nameservers that are away.
func DefaultCache() CacheOptions {
	return CacheOptions{Entries: 10000, MaxTTL: time.Hour, MaxNegativeTTL: 5 * time.Minute, MaxStale: 24 * time.Hour}
}

// maxKept is the size of the largest answer that is kept. Over TCP they may have 64 KiB, of which
// few fill the memory.
const maxKept = 8192

// ways is how many places an entry may take.
const ways = 8

// cache is a set-associative table: a question has few places where its answer may be, and
// where they are all taken the one that was not asked for the longest time goes. Readers take
// no lock.
type cache struct {
	options CacheOptions
	seed    maphash.Seed
	places  []atomic.Pointer[entry] // ways for each set
	writing sync.Mutex
}

// entry is an answer that is kept. Times are in nanoseconds of the forwarder's clock.
type entry struct {
	*answer
	hash       uint64
	key        string
	size       int // of the OPT that it was asked with
	stored     int64
	expires    int64
	gone       int64 // when it is too old even for a time of need
	used       atomic.Int64
	hits       atomic.Uint32
	refreshing atomic.Bool  // it is being asked for before it expires
	retry      atomic.Int64 // it is stale, and until then the nameservers are left alone
}

func newCache(options CacheOptions) *cache {
	sets := (options.Entries + ways - 1) / ways
	return &cache{options: options, seed: maphash.MakeSeed(), places: make([]atomic.Pointer[entry], sets*ways)}
}

// set is where the key's entry is, if anywhere.
func (c *cache) set(hash uint64) []atomic.Pointer[entry] {
	first := int(hash%uint64(len(c.places)/ways)) * ways
	return c.places[first : first+ways]
}

// find returns the entry of the key, however old, nil if there is none.
func (c *cache) find(key []byte, now int64) *entry {
	if len(c.places) == 0 {
		return nil
	}
	hash := maphash.Bytes(c.seed, key)
	set := c.set(hash)
	for i := range set {
		e := set[i].Load()
		if e == nil || e.hash != hash || e.key != string(key) {
			continue
		}
		if now-e.used.Load() > int64(time.Second) { // a write costs the other processors their copy
			e.used.Store(now)
		}
		return e
	}
	return nil
}

// lifetime is how long an answer counts as fresh; 0: it is not kept.
func (c *cache) lifetime(a *answer) time.Duration {
	if a.lifetime == 0 {
		return 0
	}
	most := c.options.MaxTTL
	if a.negative {
		most = min(most, c.options.MaxNegativeTTL)
	}
	return min(max(a.lifetime, c.options.MinTTL), most)
}

// keep takes an answer in, if it may be kept, in the place of an earlier one.
func (c *cache) keep(key []byte, size int, a *answer, now int64) {
	lifetime := c.lifetime(a)
	if lifetime <= 0 || len(c.places) == 0 || len(a.wire) > maxKept {
		return
	}
	e := &entry{answer: a, hash: maphash.Bytes(c.seed, key), key: string(key), size: size, stored: now,
		expires: now + int64(lifetime), gone: now + int64(lifetime+c.options.MaxStale)}
	e.used.Store(now)
	c.writing.Lock()
	defer c.writing.Unlock()
	set := c.set(e.hash)
	place := 0
	for i, oldest := 0, int64(1<<63-1); i < len(set); i++ {
		old := set[i].Load()
		used := int64(-1)
		if old != nil && old.hash == e.hash && old.key == e.key {
			place = i
			break
		}
		if old != nil && now < old.gone {
			used = old.used.Load()
		}
		if used < oldest {
			place, oldest = i, used
		}
	}
	set[place].Store(e)
}

// clear forgets everything.
func (c *cache) clear() {
	c.writing.Lock()
	defer c.writing.Unlock()
	for i := range c.places {
		c.places[i].Store(nil)
	}
}

// len is the number of entries, fresh or stale.
func (c *cache) len() int {
	n := 0
	for i := range c.places {
		if c.places[i].Load() != nil {
			n++
		}
	}
	return n
}
