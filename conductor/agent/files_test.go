package agent

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/seal"
	"github.com/dokkaa/dokkaa/internal/state"
)

const secretive = `{"manifest": {"image": "nginx", "services": {"nginx": 80}, "secrets": [{"source": "password", "uid": 101}, "old@2"],
	"configs": [{"source": "nginx.conf", "path": "/etc/nginx.conf"}, {"content": "hello", "path": "/etc/motd", "mode": "0640"}]},
	"versions": {"secrets": {"password": 3}, "configs": {"nginx.conf": 1}}, "hash": "x"}`

// keep puts the values of secretive into the store.
func (b *bench) keep(key seal.Key) {
	b.store.set(func() {
		b.store.keys[state.SecretKey("dummy", "password", 3)] = key.Seal([]byte("hunter2"), "dummy/password/3")
		b.store.keys[state.SecretKey("dummy", "old", 2)] = key.Seal([]byte("hunter1"), "dummy/old/2")
		b.store.keys[state.ConfigKey("dummy", "nginx.conf", 1)] = "user nginx;"
	})
}

// secretsTold fails the test if anybody was told a secret.
func (b *bench) secretsTold() {
	b.t.Helper()
	told := b.log.String()
	b.store.set(func() { told += strings.Join(b.store.values, "\n") })
	if strings.Contains(told, "hunter") {
		b.t.Errorf("a secret was told:\n%s", told)
	}
}

func TestFilesAreThereBeforeTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		key := seal.NewKey()
		b.keep(key)
		b.secretKey = func() (seal.Key, error) { return key, nil }
		b.start()
		b.put(b.slots(secretive, idA)...)
		b.pass(time.Second)
		var got []string
		b.engine.set(func() {
			for _, f := range b.engine.files["c-"+idA] {
				got = append(got, fmt.Sprintf("%s %o %d:%d %s", f.Path, f.Mode, f.UID, f.GID, f.Content))
			}
		})
		want := "/run/secrets/password 400 101:0 hunter2, /run/secrets/old 400 0:0 hunter1, /etc/nginx.conf 444 0:0 user nginx;, /etc/motd 640 0:0 hello"
		if strings.Join(got, ", ") != want {
			t.Errorf("put %q, want %s", got, want)
		}
		if o := b.observed(idA); o.Phase != state.PhaseHealthy {
			t.Errorf("observed: %+v", o)
		}
		b.engine.kill("c-" + idA)
		b.pass(time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseHealthy || o.Restarts != 1 || b.engine.puts != 1 {
			t.Errorf("after a restart, files put %d times: %+v", b.engine.puts, o)
		}
		b.stop()
		b.secretsTold()
	})
}

func TestWhatSecretsLack(t *testing.T) {
	key := seal.NewKey()
	for name, test := range map[string]struct {
		spoil  func(*bench)
		reason string
	}{
		"the key": {func(b *bench) {
			b.secretKey = func() (seal.Key, error) { return seal.Key{}, errors.New("no file /etc/dokkaa/secret.key") }
		},
			"its secrets cannot be opened on this host: no file /etc/dokkaa/secret.key"},
		"any key":     {func(b *bench) { b.secretKey = nil }, "it has no key"},
		"another key": {func(b *bench) { b.keep(seal.NewKey()) }, "does this host have the cluster's key?"},
		"one in another's place": {func(b *bench) {
			b.store.keys[state.SecretKey("dummy", "password", 3)] = b.store.keys[state.SecretKey("dummy", "old", 2)]
		}, "dummy/password/3: was not sealed"},
		"a secret":        {func(b *bench) { delete(b.store.keys, state.SecretKey("dummy", "password", 3)) }, "secret password has no version 3 any more"},
		"a config":        {func(b *bench) { delete(b.store.keys, state.ConfigKey("dummy", "nginx.conf", 1)) }, "config nginx.conf has no version 1 any more"},
		"the store":       {func(b *bench) { b.store.away = true }, ""},
		"the right store": {func(b *bench) { b.apps.unknow() }, ""},
		"a known version": {func(b *bench) {}, "secret password had no value when the revision was made"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.keep(key)
				good := func() (seal.Key, error) { return key, nil }
				b.secretKey = good
				revision := secretive
				if name == "a known version" {
					revision = strings.Replace(revision, `"password": 3`, "", 1)
				}
				nodes := b.slots(revision, idA)
				b.put(nodes...)
				test.spoil(b)
				b.start()
				b.pass(10 * time.Second)
				if o := b.observed(idA); !strings.Contains(o.Reason, test.reason) || test.reason != "" && o.Phase != state.PhaseFailed {
					t.Errorf("observed %+v, want %q", o, test.reason)
				}
				if _, starts, _ := b.engine.count(); starts > 0 {
					t.Error("started without its files")
				}
				b.agent.SecretKey = good
				b.store.set(func() { b.store.away = false })
				b.keep(key)
				b.put(b.slots(secretive, idA)...)
				b.pass(2 * time.Minute)
				if o := b.observed(idA); o.Phase != state.PhaseHealthy || len(b.engine.files["c-"+idA]) != 4 {
					t.Errorf("once all is there: %+v", o)
				}
				b.stop()
				b.secretsTold()
			})
		})
	}
}

// TestFileIsNotToldByChance prints a file in every way that one may slip into a message.
func TestFileIsNotToldByChance(t *testing.T) {
	f := engine.File{Path: "/run/secrets/password", Content: []byte("hunter2")}
	for _, text := range []string{fmt.Sprint(f), fmt.Sprintf("%+v %#v %s", f, f, f), fmt.Sprintf("%+v", []engine.File{f}), fmt.Sprintf("%v", struct{ F *engine.File }{&f})} {
		if strings.Contains(text, "hunter") || strings.Contains(text, "104 117 110") {
			t.Errorf("it says %s", text)
		}
	}
}
