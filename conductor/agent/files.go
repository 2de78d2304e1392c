package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/seal"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// filesTimeout is how long secrets and configs may take to be read.
const filesTimeout = 10 * time.Second

// furnish puts the instance's secrets and configs into its container, which was made and never
// started. They stay there; doing it again does no harm.
func (a *Agent) furnish(ctx context.Context, d Desired, id string) error {
	if d.Manifest == nil || len(d.Manifest.Secrets)+len(d.Manifest.Configs) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, filesTimeout)
	defer cancel()
	files, err := a.files(ctx, d)
	if err != nil {
		return err
	}
	return a.Engine.Put(ctx, id, files)
}

// files reads the instance's secrets and configs. No error tells anything of a value.
func (a *Agent) files(ctx context.Context, d Desired) (files []engine.File, err error) {
	var key seal.Key
	if len(d.Manifest.Secrets) > 0 {
		if key, err = a.secretKey(); err != nil {
			return nil, fmt.Errorf("its secrets cannot be opened on this host: %w", err)
		}
	}
	for _, s := range d.Manifest.Secrets {
		name, version := versioned(s.Source, d.Versions.Secrets, s.Versioned)
		sealed, err := a.value(ctx, "secret", state.SecretKey(d.App, name, version), name, version)
		if err != nil {
			return nil, err
		}
		content, err := key.Open(sealed, fmt.Sprintf("%s/%s/%d", d.App, name, version))
		if err != nil {
			return nil, fmt.Errorf("secret %w; does this host have the cluster's key?", err)
		}
		files = append(files, engine.File{Path: s.Path, Mode: int(s.Mode), UID: s.UID, GID: s.GID, Content: content})
	}
	for _, c := range d.Manifest.Configs {
		content := c.Content
		if c.Source != "" {
			name, version := versioned(c.Source, d.Versions.Configs, c.Versioned)
			if content, err = a.value(ctx, "config", state.ConfigKey(d.App, name, version), name, version); err != nil {
				return nil, err
			}
		}
		files = append(files, engine.File{Path: c.Path, Mode: int(c.Mode), UID: c.UID, GID: c.GID, Content: []byte(content)})
	}
	return files, nil
}

func (a *Agent) secretKey() (seal.Key, error) {
	if a.SecretKey == nil {
		return seal.Key{}, errors.New("it has no key")
	}
	return a.SecretKey()
}

// versioned is the name of a source and the version of it that a revision has.
func versioned(source string, versions map[string]int, parse func() (string, int)) (name string, version int) {
	name, version = parse()
	if version == 0 {
		version = versions[source]
	}
	return name, version
}

// value reads what stands in etcd, of this cluster.
func (a *Agent) value(ctx context.Context, kind, key, name string, version int) (string, error) {
	if version == 0 {
		return "", fmt.Errorf("%s %s had no value when the revision was made", kind, name)
	}
	if !a.Apps.Snapshot().Known {
		return "", fmt.Errorf("read %s %s: %w", kind, name, errUnknown)
	}
	node, err := a.Store.Get(ctx, key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return "", fmt.Errorf("%s %s has no version %d any more: set it again, or name another", kind, name, version)
	case err != nil:
		return "", fmt.Errorf("read %s %s: %w", kind, name, err)
	}
	return node.Value, nil
}
