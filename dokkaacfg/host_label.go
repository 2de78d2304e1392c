package dokkaacfg

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
)

type hostLabelCommand struct {
	hostArg
	Changes []string
}

func newHostLabelCommand(p *invocation) *cobra.Command {
	c := new(hostLabelCommand)
	return &cobra.Command{
		Use: "label <ip> [key=value|key-]...", Short: "Show, set and remove labels of a host",
		Example: "dokkaacfg host label 10.101.0.1                  # shows them\ndokkaacfg host label 10.101.0.1 disk=ssd zone-",
		Args:    andMore(&c.Changes, &c.IP), ValidArgsFunction: p.completeHosts, RunE: p.run(c.Run),
	}
}

var labelName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$`)

// labelChanges are labels to set, and to remove.
type labelChanges struct {
	set    map[string]string
	remove []string
}

func parseLabelChanges(texts []string) (labelChanges, error) {
	changes := labelChanges{set: map[string]string{}}
	seen := map[string]bool{}
	for _, text := range texts {
		key, value, sets := strings.Cut(text, "=")
		if !sets {
			var removes bool
			if key, removes = strings.CutSuffix(text, "-"); !removes {
				return changes, usageError{fmt.Sprintf("%q has neither the form key=value, which sets a label, nor key-, which removes it", text)}
			}
			changes.remove = append(changes.remove, key)
		} else {
			changes.set[key] = value
		}
		switch {
		case !labelName.MatchString(key):
			return changes, usageError{fmt.Sprintf("%q is no name for a label: letters, digits and ._/- between them, at most 63", key)}
		case seen[key]:
			return changes, usageError{fmt.Sprintf("label %s is given twice", key)}
		case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' }):
			return changes, usageError{fmt.Sprintf("the value of label %s has control characters", key)}
		}
		seen[key] = true
	}
	return changes, nil
}

// Run changes the operator's labels of a host, and shows all that it has.
func (c *hostLabelCommand) Run(ctx context.Context, s *session) error {
	changes, err := parseLabelChanges(c.Changes)
	if err != nil {
		return err
	}
	return s.withKeys(ctx, writeTimeout, func(ctx context.Context, keys clusterKeys) error {
		all, err := readInventory(ctx, keys)
		if err != nil {
			return err
		}
		ip, h, err := c.in(all)
		if err != nil {
			return err
		}
		for _, key := range changes.remove {
			if _, own := h.said.Labels[key]; own {
				fmt.Fprintf(s.out, "label %s is the host's own, by HOST_LABELS of its conductor: it stays; an operator's value for it goes\n", key)
			} else if _, there := h.labels[key]; !there {
				fmt.Fprintf(s.out, "host %s has no label %s\n", ip, key)
			}
		}
		err = modify(ctx, keys.Store, state.HostLabelsKey(ip), func(old string) (value string, err error) {
			h.labels, value, err = changes.apply(old)
			return value, err
		})
		if err != nil {
			return fmt.Errorf("label host %s: %w", ip, err)
		}
		_, err = fmt.Fprintf(s.out, "host %s: %s\n", ip, cmp.Or(strings.ReplaceAll(listLabels(h.allLabels()), ",", ", "), "no labels"))
		return err
	})
}

// apply makes the labels and the value of their key from the value that it has.
func (c labelChanges) apply(old string) (map[string]string, string, error) {
	labels := map[string]string{}
	if old != "" {
		if err := json.Unmarshal([]byte(old), &labels); err != nil {
			return nil, "", fmt.Errorf("read its labels: %w", err)
		}
	}
	before := maps.Clone(labels)
	maps.Copy(labels, c.set)
	maps.DeleteFunc(labels, func(key, _ string) bool { return slices.Contains(c.remove, key) })
	switch {
	case maps.Equal(before, labels):
		return labels, old, nil // also when it is written in another way
	case len(labels) == 0:
		return labels, "", nil
	}
	return labels, asJSON(labels), nil
}
