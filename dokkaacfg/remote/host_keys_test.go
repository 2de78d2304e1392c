package remote

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func newKey(t *testing.T) ssh.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A key is believed at first sight, and no other after it, whoever asks.
func TestHostKeysArePinned(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cluster", "known_hosts")
	first, other := newKey(t), newKey(t)
	const address = "192.0.2.1:22"
	if err := NewHostKeys(file).check(address, nil, first); err != nil {
		t.Fatal(err)
	}
	keys := NewHostKeys(file)
	if err := keys.check(address, nil, first); err != nil {
		t.Errorf("the same key: %v", err)
	}
	var changed *ChangedKeyError
	err := keys.check(address, nil, other)
	if !errors.As(err, &changed) || !strings.Contains(err.Error(), ssh.FingerprintSHA256(other)) || !strings.Contains(err.Error(), file) {
		t.Errorf("another key: %v", err)
	}
	if err := keys.check("192.0.2.1:2222", nil, other); err != nil {
		t.Errorf("another port: %v", err)
	}
	if got := keys.algorithms(address); !slices.Equal(got, []string{ssh.KeyAlgoED25519}) {
		t.Errorf("asked for by %q", got)
	}
	if err := keys.Forget(address); err != nil {
		t.Fatal(err)
	}
	if err := keys.check(address, nil, other); err != nil {
		t.Errorf("after it was forgotten: %v", err)
	}
	if err := keys.check("192.0.2.1:2222", nil, first); !errors.As(err, &changed) {
		t.Errorf("another port's was forgotten too: %v", err)
	}
}

func TestBrokenHostKeysAreNotEmptyOnes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte("192.0.2.1 ssh-ed25519 AAAA\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := NewHostKeys(file).check("192.0.2.1:22", nil, newKey(t)); err == nil {
		t.Error("a file that cannot be read is taken for one without keys")
	}
}
