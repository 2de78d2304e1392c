// Package backup is a cluster's keys in a file, and what it takes to write them into another etcd. It
// does no I/O but that of the reader and writer that it is given.
package backup

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// version is that of the file's form. A reader knows those up to its own.
const version = 1

// Backup is what stood in etcd at an index.
type Backup struct {
	Version int       `json:"version"`
	Cluster string    `json:"cluster"` // its name
	ID      string    `json:"id"`      // its id, which its containers are labelled with
	Time    time.Time `json:"time"`
	Index   uint64    `json:"index"` // of etcd: all writes up to it are in
	// KeyDigest tells which key the secrets are encrypted with. SecretKey is that key, if it was asked for.
	KeyDigest string `json:"secret_key_digest,omitempty"`
	SecretKey string `json:"secret_key,omitempty"`
	Keys      []Key  `json:"keys"`
	Checksum  string `json:"checksum"` // of all else
}

// Key is a key as it was.
type Key struct {
	Key      string `json:"key"`
	Value    string `json:"value"`
	TTL      int64  `json:"ttl,omitempty"` // seconds that were left to it
	Created  uint64 `json:"created"`
	Modified uint64 `json:"modified"`
}

// Write writes the backup with its checksum.
func (b Backup) Write(w io.Writer) error {
	b.Version = version
	var err error
	if b.Checksum, err = b.sum(); err != nil {
		return err
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", " ")
	return encoder.Encode(b)
}

// Read reads a backup, and refuses one that is not as it was written.
func Read(r io.Reader) (b Backup, err error) {
	decoder := json.NewDecoder(r)
	if err := decoder.Decode(&b); err != nil {
		return b, fmt.Errorf("it is no backup: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return b, errors.New("it is no backup: something follows it")
	}
	switch sum, err := b.sum(); {
	case err != nil:
		return b, err
	case b.Version < 1 || b.Version > version:
		return b, fmt.Errorf("it has version %d, and this program reads up to %d", b.Version, version)
	case sum != b.Checksum:
		return b, errors.New("its checksum is wrong: it was damaged, or changed")
	case b.ID == "":
		return b, errors.New("it has no id of a cluster")
	}
	return b, nil
}

func (b Backup) sum() (string, error) {
	b.Checksum = ""
	data, err := json.Marshal(b)
	if err != nil {
		return "", fmt.Errorf("sum up backup: %w", err)
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}
