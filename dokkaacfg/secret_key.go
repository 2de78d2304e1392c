package dokkaacfg

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dokkaa/dokkaa/internal/seal"
)

const (
	secretKeyName = "secret.key"
	// secretKeyInside is where a conductor finds the cluster's key.
	secretKeyInside = "/etc/dokkaa/secret.key"
)

// secretKeyFile is where the cluster's key is on this machine.
func (s *session) secretKeyFile() string { return filepath.Join(s.provider.dir(), secretKeyName) }

// readSecretKey returns the key that the cluster's secrets are encrypted with. What it fails with
// never shows the key.
func (s *session) readSecretKey() (seal.Key, error) {
	key, err := parseSecretKey(s.secretKeyFile())
	if errors.Is(err, fs.ErrNotExist) {
		return seal.Key{}, fmt.Errorf("cluster %s has no key to encrypt secrets with (%s); dokkaacfg up makes it", s.cluster, s.secretKeyFile())
	}
	return key, err
}

func parseSecretKey(file string) (seal.Key, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return seal.Key{}, fmt.Errorf("read the cluster's key: %w", err)
	}
	key, err := seal.ParseKey(text)
	if err != nil {
		return seal.Key{}, fmt.Errorf("read the cluster's key: %s %w", file, err)
	}
	return key, nil
}

// ensureSecretKey makes the cluster's key if there is none, and tells whether it did. A file that
// holds no key is an error: to write over it could make all secrets unreadable.
func ensureSecretKey(file string) (made bool, err error) {
	_, err = parseSecretKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o711); err != nil {
		return false, fmt.Errorf("make the cluster's key: %w", err)
	}
	// The whole file or none, whenever the machine stops.
	temp := file + ".new"
	if err := writeSynced(temp, seal.NewKey().Encode()); err != nil {
		return false, fmt.Errorf("make the cluster's key: %w", err)
	}
	if err := os.Rename(temp, file); err != nil {
		return false, fmt.Errorf("make the cluster's key: %w", err)
	}
	return true, nil
}

// writeSynced writes a file that its owner alone may read, onto the disk.
func writeSynced(name string, data []byte) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // what an earlier attempt left may be anybody's to read
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Sync(), file.Close())
}

// keyFile is a file with the cluster's key; the zero value is none.
type keyFile struct {
	path   string // on this machine
	onHost string // the same on every host
	digest string // of its content
}

// read looks at the file: Docker would make a directory of one that is missing.
func (k *keyFile) read() error {
	if k.path == "" {
		return nil
	}
	key, err := parseSecretKey(k.path)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(key.Encode())
	k.digest = hex.EncodeToString(sum[:8])
	return nil
}
