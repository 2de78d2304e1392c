package certificates

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// changeFile is there from before the first step of a change of authorities until after its last.
const changeFile = "change"

// Begin notes in the directory that a change of authorities is under way.
func Begin(dir string) error { return write(dir, changeFile, nil) }

// End notes that it is over.
func End(dir string) error {
	if err := os.Remove(filepath.Join(dir, changeFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("end the change of authorities: %w", err)
	}
	return nil
}

// Changing tells whether a change of the authorities was begun and not ended.
func (a Authorities) Changing(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, changeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return a.Phase() != Settled, nil
	}
	return err == nil, err
}
