package remote

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// HostKeys are the keys that hosts showed when they were first seen, in a file of the form of
// OpenSSH's known_hosts. A host is believed only with the key that it had then. It is safe for
// concurrent use.
type HostKeys struct {
	file string
	mu   sync.Mutex
}

// NewHostKeys returns the keys in a file, which need not exist.
func NewHostKeys(file string) *HostKeys { return &HostKeys{file: file} }

// File is where the keys are.
func (k *HostKeys) File() string { return k.file }

// ChangedKeyError says that a host shows another key than it did.
type ChangedKeyError struct {
	Address, File string
	Was, Is       ssh.PublicKey
}

func (e *ChangedKeyError) Error() string {
	return fmt.Sprintf("the host key of %s has changed: it was %s, now it is %s. Either somebody is in between, or the host was installed anew; "+
		"only if you know that it was, remove its line from %s", e.Address, ssh.FingerprintSHA256(e.Was), ssh.FingerprintSHA256(e.Is), e.File)
}

// check keeps the key of a host that is seen for the first time, and compares that of any other.
func (k *HostKeys) check(address string, _ net.Addr, key ssh.PublicKey) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	known, err := k.read(address)
	if err != nil {
		return err
	}
	if len(known) == 0 {
		return k.add(address, key)
	}
	for _, old := range known {
		if string(old.Marshal()) == string(key.Marshal()) {
			return nil
		}
	}
	return &ChangedKeyError{Address: address, File: k.file, Was: known[0], Is: key}
}

// algorithms are those that the host is asked to prove itself by; nil for the usual ones. A host has
// several keys: asked for another than the one that is known, it would seem to have changed.
func (k *HostKeys) algorithms(address string) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	known, _ := k.read(address) // check finds the same, and says so
	var all []string
	for _, key := range known {
		if key.Type() == ssh.KeyAlgoRSA {
			all = append(all, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
			continue
		}
		all = append(all, key.Type())
	}
	return all
}

// Forget drops the keys of an address, for the next host that has it.
func (k *HostKeys) Forget(address string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	data, err := os.ReadFile(k.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read host keys: %w", err)
	}
	var kept strings.Builder
	for line := range strings.Lines(string(data)) {
		if host, _, _ := strings.Cut(line, " "); host != knownhosts.Normalize(address) {
			kept.WriteString(line)
		}
	}
	temp := k.file + ".new"
	if err := os.WriteFile(temp, []byte(kept.String()), 0o600); err != nil {
		return fmt.Errorf("write host keys: %w", err)
	}
	if err := os.Rename(temp, k.file); err != nil {
		return fmt.Errorf("write host keys: %w", err)
	}
	return nil
}

// read returns the known keys of an address.
func (k *HostKeys) read(address string) ([]ssh.PublicKey, error) {
	data, err := os.ReadFile(k.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read host keys: %w", err)
	}
	var known []ssh.PublicKey
	for number, line := range strings.Split(string(data), "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		_, hosts, key, _, _, err := ssh.ParseKnownHosts([]byte(line))
		if err != nil {
			return nil, fmt.Errorf("read host keys: %s, line %d: %w", k.file, number+1, err)
		}
		if slices.Contains(hosts, knownhosts.Normalize(address)) {
			known = append(known, key)
		}
	}
	return known, nil
}

// add appends a key, on the disk before the host is believed.
func (k *HostKeys) add(address string, key ssh.PublicKey) error {
	if err := os.MkdirAll(filepath.Dir(k.file), 0o711); err != nil {
		return fmt.Errorf("keep host key: %w", err)
	}
	file, err := os.OpenFile(k.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keep host key: %w", err)
	}
	_, err = file.WriteString(knownhosts.Line([]string{address}, key) + "\n")
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("keep host key: %w", err)
	}
	return nil
}
