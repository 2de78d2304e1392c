package agent

import (
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/manifest"
)

// leash is how long a container may run on a host whose lease is not renewed any more.
type leash struct {
	fenced bool          // another host will write its volume: then it must have ended
	stop   time.Duration // after the last renewal; 0: for ever, or, if it is fenced, until before the lease ends
	lost   time.Duration // when others give it up; 0: when the lease ends
}

// leashOf is the leash that a manifest asks for.
func leashOf(m *manifest.Manifest) leash {
	l := leash{fenced: m.Fenced(), stop: m.Disconnect.StopOnClientAfter.Of()}
	if l.fenced && l.stop > 0 { // else it says nothing
		l.lost = m.Disconnect.LostAfter.Of()
	}
	return l
}

// leashed is the leash of a container: what the manifest says that is in force for it. Where that cannot
// be read, as after a restart without etcd, it is what the container was made with.
func leashed(c engine.Container, snapshot store.Snapshot) leash {
	if m := manifestOf(c, snapshot); m != nil {
		return leashOf(m)
	}
	return parseLeash(c.Leash)
}

const fencedWord = "fenced"

// String is what is kept in a container's label: "", "fenced", "1m0s" or "fenced 30s 1m0s".
func (l leash) String() string {
	var words []string
	if l.fenced {
		words = append(words, fencedWord)
	}
	if l.stop > 0 {
		words = append(words, l.stop.String())
	}
	if l.lost > 0 {
		words = append(words, l.lost.String())
	}
	return strings.Join(words, " ")
}

// parseLeash reads what String wrote. What it does not understand is left out.
func parseLeash(text string) (l leash) {
	rest, fenced := strings.CutPrefix(text, fencedWord)
	l.fenced = fenced
	for _, word := range strings.Fields(rest) {
		switch d, err := time.ParseDuration(word); {
		case err != nil:
		case l.stop == 0:
			l.stop = d
		default:
			l.lost = d
		}
	}
	return l
}

// held tells whether there is a leash at all.
func (l leash) held() bool { return l.fenced || l.stop > 0 }

// ends is when a container is to be stopped if the lease was last renewed then. It is not before
// three quarters of the lease's life: until then its renewal is only late.
func (l leash) ends(renewed time.Time, ttl time.Duration) time.Time {
	return renewed.Add(max(l.stop, ttl*3/4))
}

// killing is how long it may take Docker to kill a container and say so.
const killing = 500 * time.Millisecond

// grace is what a container that is stopped now has from SIGTERM to SIGKILL: what it asks for. If it is
// fenced that is cut, in whole seconds as Docker counts, so that it has ended before others may start.
func (l leash) grace(asked time.Duration, now, renewed time.Time, ttl time.Duration) time.Duration {
	if !l.fenced {
		return asked
	}
	over := renewed.Add(max(l.lost, ttl))
	return max(0, min(asked, over.Sub(now)-killing).Truncate(time.Second))
}
