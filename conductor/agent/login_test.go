package agent

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/seal"
	"github.com/dokkaa/dokkaa/internal/state"
)

const (
	shopRevision = `{"manifest": {"image": "registry.example.com:5000/shop/web:1"}, "hash": "x"}`
	shopKey      = state.RegistriesDir + "/registry.example.com:5000"
)

// logIn keeps a login as dokkaacfg does.
func (b *bench) logIn(key seal.Key, registry, username, password string) {
	sealed := key.Seal([]byte(password), state.RegistrySealName(registry, username))
	b.store.set(func() {
		b.store.keys[state.RegistryKey(registry)] = `{"username": "` + username + `", "password": "` + sealed + `"}`
	})
}

// Each pull is with what the cluster has for that registry just then.
func TestPullWithTheClustersLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		key := seal.NewKey()
		b.secretKey = func() (seal.Key, error) { return key, nil }
		b.logIn(key, "docker.io", "bob", "hunter1")
		b.engine.pullErr = errors.New("unauthorized")
		b.start()
		b.put(b.slots(shopRevision, idA)...)
		b.pass(time.Second)
		if b.engine.pulls == 0 || b.engine.login != (engine.Login{}) {
			t.Errorf("%d pulls, without a login for the registry as %#v", b.engine.pulls, b.engine.login)
		}
		b.logIn(key, "registry.example.com:5000", "ann", "hunter2")
		b.pass(2 * time.Minute)
		if b.engine.login != (engine.Login{Username: "ann", Password: "hunter2"}) {
			t.Errorf("pulled as %#v", b.engine.login)
		}
		b.stop()
		b.secretsTold()
	})
}

// An image that everybody may have is pulled whatever the login lacks. Of one that is not it is told
// what that is, and it is tried again.
func TestWhatLoginsLack(t *testing.T) {
	key := seal.NewKey()
	for name, test := range map[string]struct {
		spoil  func(*bench)
		reason string
	}{
		"the host's key": {func(b *bench) {
			b.secretKey = func() (seal.Key, error) { return seal.Key{}, errors.New("no file /etc/dokkaa/secret.key") }
		}, "cannot be opened on this host: no file /etc/dokkaa/secret.key, and without one: there is no such image"},
		"the same key": {func(b *bench) { b.secretKey = func() (seal.Key, error) { return seal.NewKey(), nil } }, "was not sealed with this key"},
		"its place": {func(b *bench) { b.store.keys[shopKey] = b.store.keys[state.RegistryKey("other.example.com")] },
			"was not sealed with this key under this name"},
		"its form": {func(b *bench) { b.store.keys[shopKey] = "ann:hunter2" }, "cannot be read: dokkaacfg registry login registry.example.com:5000 sets it again"},
	} {
		for _, public := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.secretKey = func() (seal.Key, error) { return key, nil }
				b.logIn(key, "registry.example.com:5000", "ann", "hunter2")
				b.logIn(key, "other.example.com", "ann", "hunter2")
				b.store.set(func() { test.spoil(b) })
				b.engine.pullErr = engine.ErrImageAbsent
				if public {
					const image = "registry.example.com:5000/shop/web:1"
					b.engine.pullErr = nil
					b.engine.registry = map[string]engine.Image{image: {ID: "sha256:11", Tags: []string{image}}}
				}
				b.start()
				b.put(b.slots(shopRevision, idA)...)
				b.pass(time.Minute)
				if o := b.observed(idA); public && o.Phase != state.PhaseHealthy || !public && (!strings.Contains(o.Reason, test.reason) || o.GaveUp || b.engine.pulls < 3) {
					t.Errorf("%s: %d pulls, %+v", name, b.engine.pulls, o)
				}
				if b.engine.login != (engine.Login{}) || b.engine.pulls == 0 {
					t.Errorf("%s: %d pulls, the last as %#v", name, b.engine.pulls, b.engine.login)
				}
				b.stop()
				b.secretsTold()
			})
		}
	}
}
