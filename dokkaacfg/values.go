package dokkaacfg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/manifest"
)

const (
	maxValueSize = 500 << 10 // bytes; sealed, it has to fit into a key
	// keptVersions is how many versions stay that no revision refers to.
	keptVersions = 10
)

// valueKind is what containers find in files: secrets, or configs.
type valueKind struct {
	word, dir string
	key       func(app, name string, version int) string
	// of are those that a manifest names, by their name, with the version or 0 for the newest.
	of func(*manifest.Manifest) map[string]int
	// versions are those that a revision has.
	versions func(manifest.Versions) map[string]int
}

var secrets = valueKind{
	word: "secret", dir: state.SecretsDir, key: state.SecretKey,
	of: func(m *manifest.Manifest) map[string]int {
		named := map[string]int{}
		for _, s := range m.Secrets {
			name, version := s.Versioned()
			named[name] = version
		}
		return named
	},
	versions: func(v manifest.Versions) map[string]int { return v.Secrets },
}

var configs = valueKind{
	word: "config", dir: state.ConfigsDir, key: state.ConfigKey,
	of: func(m *manifest.Manifest) map[string]int {
		named := map[string]int{}
		for _, c := range m.Configs {
			if name, version := c.Versioned(); name != "" {
				named[name] = version
			}
		}
		return named
	},
	versions: func(v manifest.Versions) map[string]int { return v.Configs },
}

// parse reads <app>/<name>.
func (k valueKind) parse(text string) (state.Ref, error) {
	app, name, found := strings.Cut(text, "/")
	if !found {
		return state.Ref{}, usageError{fmt.Sprintf("%q does not have the form <app>/<name>", text)}
	}
	if err := manifest.ValidateSource(app, name); err != nil {
		return state.Ref{}, usageError{fmt.Sprintf("%q: %v", text, err)}
	}
	return state.Ref{App: app, Name: name}, nil
}

// stored is what there is of one secret or config: its versions, by number.
type stored map[int]store.Node

func (s stored) newest() int { return max(0, slices.Max(append(s.numbers(), 0))) }

func (s stored) numbers() []int { return slices.Sorted(maps.Keys(s)) }

// list reads all below a directory: an app's, or everything.
func (k valueKind) list(ctx context.Context, keys clusterKeys, dir string) (map[state.Ref]stored, error) {
	listing, err := keys.List(ctx, dir)
	if err != nil {
		return nil, err
	}
	all := map[state.Ref]stored{}
	for _, node := range listing.Nodes {
		parts := strings.Split(strings.TrimPrefix(node.Key, k.dir+"/"), "/")
		version, err := strconv.Atoi(path.Base(node.Key))
		if len(parts) != 3 || err != nil || version < 1 {
			continue
		}
		of := state.Ref{App: parts[0], Name: parts[1]}
		if all[of] == nil {
			all[of] = stored{}
		}
		all[of][version] = node
	}
	return all, nil
}

// set writes a new version, unless the newest has the value already, and tells which it is. The
// value depends on the version. Versions that a revision has are never given again.
func (k valueKind) set(ctx context.Context, keys clusterKeys, of state.Ref, value func(version int) string, same func(store.Node, int) bool) (version int, written bool, err error) {
	for range maxAttempts {
		all, err := k.list(ctx, keys, k.dir+"/"+of.App)
		if err != nil {
			return 0, false, err
		}
		uses, err := k.uses(ctx, keys, of.App)
		if err != nil {
			return 0, false, err
		}
		versions := all[of]
		newest := versions.newest()
		if newest > 0 && same(versions[newest], newest) {
			return newest, false, nil
		}
		version = 1 + max(newest, uses.of(of.Name).newest())
		node, err := keys.Create(ctx, k.key(of.App, of.Name, version), value(version), 0)
		if errors.Is(err, store.ErrExists) {
			continue
		}
		if err != nil {
			return 0, false, err
		}
		if versions == nil {
			versions = stored{}
		}
		versions[version] = node
		return version, true, k.prune(ctx, keys, versions, uses.of(of.Name))
	}
	return 0, false, fmt.Errorf("%s %s: others write it all the time", k.word, of)
}

// prune removes the oldest versions that nothing refers to.
func (k valueKind) prune(ctx context.Context, keys clusterKeys, versions stored, uses valueUses) error {
	if uses.unreadable != "" {
		return nil // what it refers to is not known
	}
	numbers := slices.DeleteFunc(versions.numbers(), uses.has)
	for _, version := range numbers[:max(0, len(numbers)-keptVersions)] {
		if err := removeKey(ctx, keys.Store, versions[version].Key); err != nil {
			return err
		}
	}
	return nil
}

// text is what a user gives: a file's content, or what comes through the pipe.
func (k valueKind) text(s *session, file string) ([]byte, error) {
	from, what := s.in, "standard input"
	if file != "" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", k.word, err)
		}
		defer opened.Close()
		from, what = opened, file
	} else if isTerminal(s.in) {
		fmt.Fprintf(s.out, "Type the %s, and then Ctrl-D on a line of its own (or pipe it in, or use --file):\n", k.word)
	}
	text, err := io.ReadAll(io.LimitReader(from, maxValueSize+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", k.word, err)
	case len(text) == 0:
		return nil, fmt.Errorf("the %s is empty: there is nothing in %s", k.word, what)
	case len(text) > maxValueSize:
		return nil, fmt.Errorf("the %s is too long: at most %d bytes are allowed", k.word, maxValueSize)
	}
	return text, nil
}

// valueRow is one secret or config as ls shows it.
type valueRow struct {
	state.Ref
	Versions []int    `json:"versions"`
	UsedBy   []string `json:"used_by,omitempty"`
}

// rows are those of an app, or all for "".
func (k valueKind) rows(ctx context.Context, keys clusterKeys, app string) ([]valueRow, error) {
	all, err := k.list(ctx, keys, strings.TrimSuffix(k.dir+"/"+app, "/"))
	if err != nil {
		return nil, err
	}
	rows := []valueRow{}
	uses := map[string]appUses{}
	for _, of := range slices.SortedFunc(maps.Keys(all), compareRefs) {
		if _, known := uses[of.App]; !known {
			if uses[of.App], err = k.uses(ctx, keys, of.App); err != nil {
				return nil, err
			}
		}
		rows = append(rows, valueRow{of, all[of].numbers(), uses[of.App].of(of.Name).text()})
	}
	return rows, nil
}

func (k valueKind) rowsText(rows []valueRow) string {
	var t table
	t.row(strings.ToUpper(k.word), "NEWEST", "VERSIONS", "USED BY")
	for _, r := range rows {
		var versions []string
		for _, version := range r.Versions {
			versions = append(versions, strconv.Itoa(version))
		}
		t.row(r.Ref.String(), strconv.Itoa(slices.Max(r.Versions)), strings.Join(versions, ","), cmp.Or(strings.Join(r.UsedBy, ", "), "-"))
	}
	return cmp.Or(t.String(), "No "+k.word+"s.\n")
}
