package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// login is what the cluster has for the image's registry, none where it has nothing. It is read for
// each pull, so that what the operator has set counts at once. No error tells the password.
func (a *Agent) login(ctx context.Context, image string) (engine.Login, error) {
	ctx, cancel := context.WithTimeout(ctx, filesTimeout)
	defer cancel()
	registry := state.RegistryOf(image)
	if !a.Apps.Snapshot().Known {
		return engine.Login{}, fmt.Errorf("read the login at registry %s: %w", registry, errUnknown)
	}
	node, err := a.Store.Get(ctx, state.RegistryKey(registry))
	if errors.Is(err, store.ErrNotFound) {
		return engine.Login{}, nil
	}
	if err != nil {
		return engine.Login{}, fmt.Errorf("read the login at registry %s: %w", registry, err)
	}
	var stored state.Registry
	if err := json.Unmarshal([]byte(node.Value), &stored); err != nil {
		return engine.Login{}, fmt.Errorf("the login at registry %s cannot be read: dokkaacfg registry login %s sets it again", registry, registry)
	}
	key, err := a.secretKey()
	if err != nil {
		return engine.Login{}, fmt.Errorf("the login at registry %s cannot be opened on this host: %w", registry, err)
	}
	password, err := key.Open(stored.Password, state.RegistrySealName(registry, stored.Username))
	if err != nil {
		return engine.Login{}, fmt.Errorf("the login at registry %s: %w; does this host have the cluster's key?", registry, err)
	}
	return engine.Login{Username: stored.Username, Password: string(password)}, nil
}
