package dokkaacfg

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The key is made once, for its owner alone, and never written over.
func TestSecretKeyIsMadeOnce(t *testing.T) {
	s, _ := newSession(t, &fakeProvider{keep: filepath.Join(t.TempDir(), "cluster")}, "")
	if _, err := s.readSecretKey(); err == nil || !strings.Contains(err.Error(), "dokkaacfg up makes it") {
		t.Errorf("before up: %v", err)
	}
	if made, err := ensureSecretKey(s.secretKeyFile()); err != nil || !made {
		t.Fatalf("made %v, %v", made, err)
	}
	first, err := s.readSecretKey()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(s.secretKeyFile()); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	if made, err := ensureSecretKey(s.secretKeyFile()); err != nil || made {
		t.Errorf("the second time: made %v, %v", made, err)
	}
	again, err := s.readSecretKey()
	if err != nil || string(again.Encode()) != string(first.Encode()) {
		t.Errorf("it is another key: %v", err)
	}

	const damaged = "hunter2 is not a key"
	if err := os.WriteFile(s.secretKeyFile(), []byte(damaged), 0o600); err != nil {
		t.Fatal(err)
	}
	if made, err := ensureSecretKey(s.secretKeyFile()); err == nil || made || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a damaged key: made %v, %v", made, err)
	}
	if text, err := os.ReadFile(s.secretKeyFile()); err != nil || string(text) != damaged {
		t.Errorf("a damaged key was written over: %q, %v", text, err)
	}
}

// Conductors alone get the key, and new containers when it is another.
func TestConductorHasTheKey(t *testing.T) {
	hosts := addrs("10.0.0.1")
	digests := map[string]bool{}
	for range 2 {
		path := filepath.Join(t.TempDir(), secretKeyName)
		key := keyFile{path: path, onHost: path}
		if err := key.read(); err == nil {
			t.Error("a key that is not there was read")
		}
		if _, err := ensureSecretKey(key.path); err != nil {
			t.Fatal(err)
		}
		if err := key.read(); err != nil {
			t.Fatal(err)
		}
		for _, d := range daemonsOf(hosts[0], hosts, hosts, doors{}, key, "") {
			if has := slices.Contains(d.binds, key.path+":/etc/dokkaa/secret.key:ro"); has != (d.name == "conductor") {
				t.Errorf("%s has the key: %v", d.name, has)
			}
			if d.name == "conductor" {
				d.binds = nil // the two are in directories of their own
				digests[d.digest("id")] = true
			}
		}
	}
	if len(digests) != 2 {
		t.Error("another key needs no new conductor")
	}
}
