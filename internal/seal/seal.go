// Package seal encrypts the cluster's secrets: what etcd holds of them is of no use without the
// cluster's key, which only the hosts have.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

const (
	keySize = 32 // AES-256
	// prefix tells the form of a sealed text, for those that come after it.
	prefix = "aes256gcm:"
)

// ErrNotOurs says that a text was not sealed with this key under this name, or was changed since.
var ErrNotOurs = errors.New("was not sealed with this key under this name")

// Key is the cluster's key. The zero Key is none: it neither seals nor opens.
type Key struct {
	aead cipher.AEAD
	raw  *[keySize]byte // behind a pointer, which fmt does not follow inside of another type
}

// NewKey makes a key that nobody else has.
func NewKey() Key {
	var raw [keySize]byte
	rand.Read(raw[:]) // never fails
	return newKey(raw)
}

// ParseKey reads what Encode wrote: 32 bytes in base64, with white space around them.
func ParseKey(text []byte) (Key, error) {
	raw, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(raw) != keySize {
		// Not the cause: it would quote the key.
		return Key{}, fmt.Errorf("is not a key: want %d bytes in base64", keySize)
	}
	return newKey([keySize]byte(raw)), nil
}

func newKey(raw [keySize]byte) Key {
	block, err := aes.NewCipher(raw[:])
	if err != nil {
		panic(err) // the size is right
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES has the block size that GCM wants
	}
	return Key{aead: aead, raw: &raw}
}

// IsZero tells the zero Key, which is none.
func (k Key) IsZero() bool { return k.aead == nil }

// Encode is the key as text, to be kept in a file that only root can read.
func (k Key) Encode() []byte {
	if k.IsZero() {
		panic("seal: no key")
	}
	return append(base64.StdEncoding.AppendEncode(nil, k.raw[:]), '\n')
}

// String hides the key from whoever prints it.
func (k Key) String() string { return "(secret key)" }

// GoString hides the key from %#v.
func (k Key) GoString() string { return k.String() }

// LogValue hides the key from logs, whatever their form.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalJSON hides the key from JSON.
func (k Key) MarshalJSON() ([]byte, error) { return []byte(`"` + k.String() + `"`), nil }

// Seal encrypts plaintext under a name, "<app>/<secret>/<version>": it can be opened only under
// that, so that one secret cannot be put in another's place. Sealing twice gives two texts.
func (k Key) Seal(plaintext []byte, name string) string {
	if k.IsZero() {
		panic("seal: no key")
	}
	return prefix + base64.StdEncoding.EncodeToString(k.aead.Seal(nil, nil, plaintext, []byte(name)))
}

// Open decrypts what Seal made. It fails with ErrNotOurs for a text that was made with another key
// or under another name, and says nothing of its content.
func (k Key) Open(text, name string) ([]byte, error) {
	if k.IsZero() {
		return nil, fmt.Errorf("open %s: no key", name)
	}
	encoded, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return nil, fmt.Errorf("open %s: is not a sealed text that this version knows", name)
	}
	sealed, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("open %s: is damaged", name)
	}
	plaintext, err := k.aead.Open(nil, nil, sealed, []byte(name))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, ErrNotOurs)
	}
	return plaintext, nil
}
