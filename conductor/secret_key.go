package conductor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/dokkaa/dokkaa/internal/seal"
)

// secretKey reads the key that the cluster's secrets are encrypted with, each time that it is needed:
// a host whose containers need no secrets works without.
func (s *Settings) secretKey() (seal.Key, error) {
	text, err := os.ReadFile(s.SecretKeyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return seal.Key{}, fmt.Errorf("the conductor finds no cluster's key in %s: dokkaacfg up puts it there, by hand mount the file into the conductor's container",
			s.SecretKeyFile)
	case err != nil:
		return seal.Key{}, fmt.Errorf("read the cluster's key: %w", err)
	}
	key, err := seal.ParseKey(text)
	if err != nil {
		return seal.Key{}, fmt.Errorf("read the cluster's key: %s %w", s.SecretKeyFile, err)
	}
	return key, nil
}
