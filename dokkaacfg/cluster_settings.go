package dokkaacfg

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

type settingsCommand struct {
	output
	Changes []string
}

// settingRow is a setting as it is shown.
type settingRow struct {
	Setting string `json:"setting"`
	Value   string `json:"value"`
	Default string `json:"default"`
}

func newSettingsCommand(p *invocation) *cobra.Command {
	c := new(settingsCommand)
	cmd := &cobra.Command{
		Use: "settings [setting=value]...", Short: "Show or change the cluster's settings",
		Example: "dokkaacfg settings                     # shows them\ndokkaacfg settings host_lease=20s\ndokkaacfg settings host_lease=         # back to the default",
		Args:    andMore(&c.Changes), ValidArgsFunction: cobra.NoFileCompletions, RunE: p.run(c.Run),
	}
	c.output.flag(cmd)
	return cmd
}

// clusterSettings are the settings that there are, with their defaults.
var clusterSettings = map[string]time.Duration{"host_lease": state.DefaultHostTTL, "host_lease_renew": state.DefaultHostRenew}

// Run shows or changes the cluster's settings.
func (c *settingsCommand) Run(ctx context.Context, s *session) error {
	changes, err := parseSettings(c.Changes)
	if err != nil {
		return err
	}
	return s.withKeys(ctx, writeTimeout, func(ctx context.Context, keys clusterKeys) error {
		var current map[string]any
		change := func(old string) (value string, err error) {
			current, value, err = changeSettings(old, changes)
			return value, err
		}
		if len(changes) == 0 {
			node, err := keys.Get(ctx, state.SettingsKey)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			if _, err := change(node.Value); err != nil {
				return err
			}
		} else if err := modify(ctx, keys.Store, state.SettingsKey, change); err != nil {
			return err
		}
		var rows []settingRow
		var t table
		t.row("SETTING", "VALUE", "DEFAULT")
		for _, name := range slices.Sorted(maps.Keys(clusterSettings)) {
			value, _ := current[name].(string)
			row := settingRow{name, cmp.Or(value, clusterSettings[name].String()), clusterSettings[name].String()}
			rows = append(rows, row)
			t.row(row.Setting, row.Value, row.Default)
		}
		return c.write(s.out, rows, t.String)
	})
}

// parseSettings reads what is to be changed: a value, or "" for the default.
func parseSettings(texts []string) (map[string]string, error) {
	changes := map[string]string{}
	for _, text := range texts {
		name, value, found := strings.Cut(text, "=")
		if _, known := clusterSettings[name]; !known || !found {
			return nil, usageError{fmt.Sprintf("%q does not have the form setting=value; settings are %s", text, strings.Join(slices.Sorted(maps.Keys(clusterSettings)), ", "))}
		}
		changes[name] = value
	}
	return changes, nil
}

// changeSettings changes the settings in the value of their key, and checks all of them. Those
// that it does not know stay: a later version wrote them.
func changeSettings(old string, changes map[string]string) (current map[string]any, value string, err error) {
	current = map[string]any{}
	if old != "" {
		if err := json.Unmarshal([]byte(old), &current); err != nil {
			return nil, "", fmt.Errorf("%s cannot be read: %w", state.SettingsKey, err)
		}
	}
	if len(changes) == 0 {
		return current, old, nil
	}
	for name, value := range changes {
		current[name] = value
		if value == "" {
			delete(current, name)
		}
	}
	if err := checkSettings(current); err != nil {
		return nil, "", err
	}
	if len(current) == 0 {
		return current, "", nil
	}
	return current, asJSON(current), nil
}

// checkSettings refuses what the conductors would refuse.
func checkSettings(settings map[string]any) error {
	var s state.Settings
	s.HostTTL, _ = settings["host_lease"].(string)
	s.HostRenew, _ = settings["host_lease_renew"].(string)
	if _, _, err := s.HostTimes(); err != nil {
		return usageError{err.Error()}
	}
	return nil
}
