package dokkaacfg

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// maxBundle is how long a file with many manifests may be, in bytes.
const maxBundle = 16 << 20

// wish is a manifest that a user wants to be in force.
type wish struct {
	ref      state.Ref
	file     string // that it comes from
	text     []byte // as the user wrote it
	manifest *manifest.Manifest
}

// manifestFiles says where manifests are, and whose they are.
type manifestFiles struct {
	names []string  // files, directories, or "-" for what is piped in
	app   string    // of all of them, "" for the directory's name
	ref   state.Ref // of the only one, zero if the files say
}

// read reads all manifests, and refuses them together if one of them is wrong.
func (f manifestFiles) read(in io.Reader) ([]wish, error) {
	var wishes []wish
	for _, name := range f.names {
		found, err := f.readOne(name, in)
		if err != nil {
			return nil, err
		}
		wishes = append(wishes, found...)
	}
	if f.ref != (state.Ref{}) {
		if len(wishes) != 1 {
			return nil, usageError{fmt.Sprintf("%s is one container, and %d manifests are given", f.ref, len(wishes))}
		}
		if wishes[0].ref != f.ref {
			return nil, usageError{fmt.Sprintf("%s says itself that it is the manifest of %s, not of %s", wishes[0].file, wishes[0].ref, f.ref)}
		}
	}
	var wrong []error
	seen := map[state.Ref]string{}
	for i, w := range wishes {
		if other, twice := seen[w.ref]; twice {
			wrong = append(wrong, fmt.Errorf("%s stands in %s and in %s", w.ref, other, w.file))
		}
		seen[w.ref] = w.file
		m, err := manifest.ParseFor(w.ref.App, w.ref.Name, w.text)
		if err != nil {
			wrong = append(wrong, refusedManifest(w, err))
		}
		wishes[i].manifest = m
	}
	if len(wrong) > 0 {
		return nil, errors.Join(append(wrong, errors.New("nothing was applied"))...)
	}
	return wishes, nil
}

// refusedManifest tells of everything that is wrong with a manifest.
func refusedManifest(w wish, err error) error {
	texts := []string{err.Error()}
	var all manifest.Errors
	if errors.As(err, &all) {
		texts = all.Strings()
	}
	return fmt.Errorf("manifest %s in %s is wrong:\n  %s\n(dokkaacfg config explain <field> says what a field may be)",
		w.ref, w.file, strings.Join(texts, "\n  "))
}

func (f manifestFiles) readOne(name string, in io.Reader) ([]wish, error) {
	if name == "-" {
		return f.parse("standard input", in)
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	if !info.IsDir() {
		return f.readFile(name)
	}
	found, err := f.readDir(name, true)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("read manifests: there is no file <name>.json in %s", name)
	}
	return found, err
}

// readDir reads the files <name>.json in a directory, and in the directories below it, which are
// apps of their own.
func (f manifestFiles) readDir(dir string, below bool) ([]wish, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	var all []wish
	for _, entry := range entries {
		var found []wish
		name := filepath.Join(dir, entry.Name())
		switch {
		case strings.HasPrefix(entry.Name(), "."):
		case entry.IsDir() && below:
			found, err = f.readDir(name, false)
		case !entry.IsDir() && filepath.Ext(name) == ".json":
			found, err = f.readFile(name)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (f manifestFiles) readFile(name string) ([]wish, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	defer file.Close()
	if f.ref == (state.Ref{}) {
		f.ref.Name = strings.TrimSuffix(filepath.Base(name), ".json")
		if f.ref.App = f.app; f.app == "" {
			whole, err := filepath.Abs(name)
			if err != nil {
				return nil, fmt.Errorf("read manifests: %w", err)
			}
			f.ref.App = filepath.Base(filepath.Dir(whole))
		}
	}
	return f.parse(name, file)
}

// parse reads one manifest, or an object of several whose keys are <app>/<name>.
func (f manifestFiles) parse(file string, from io.Reader) ([]wish, error) {
	text, err := io.ReadAll(io.LimitReader(from, maxBundle+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read manifests: %w", err)
	case len(text) > maxBundle:
		return nil, fmt.Errorf("read manifests: %s is longer than %d bytes", file, maxBundle)
	}
	several, err := parseBundle(text)
	if err != nil {
		return nil, fmt.Errorf("read manifests: %s: %w", file, err)
	}
	if several == nil {
		if f.ref == (state.Ref{}) {
			return nil, usageError{"whose manifest is piped in? dokkaacfg apply -f - <app>/<name> says it"}
		}
		return []wish{{ref: f.ref, file: file, text: bytes.TrimSpace(text)}}, nil
	}
	for i := range several {
		several[i].file = file
	}
	return several, nil
}

// parseBundle reads an object of manifests, each under the key <app>/<name>. It returns nil if the
// text is anything else: what a manifest may be is manifest's to say.
func parseBundle(text []byte) ([]wish, error) {
	var keys map[string]json.RawMessage
	if json.Unmarshal(text, &keys) != nil {
		return nil, nil
	}
	isRef := func(key string) bool { return strings.Contains(key, "/") }
	found := false
	for key := range keys {
		found = found || isRef(key)
	}
	if !found {
		return nil, nil
	}
	var all []wish
	decoder := json.NewDecoder(bytes.NewReader(text))
	if _, err := decoder.Token(); err != nil { // the brace
		return nil, err
	}
	for decoder.More() { // one by one, because the map has but the last of two that are the same
		key, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		ref, err := parseRef(fmt.Sprint(key))
		if err != nil {
			return nil, fmt.Errorf("among several manifests: %w", err)
		}
		all = append(all, wish{ref: ref, text: slices.Clone(value)})
	}
	return all, nil
}
