package dokkaacfg

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
)

const contextFile = "context.json"

// clusterContext is what the last up was told of a cluster whose hosts are elsewhere, and what other
// commands need not be told again.
type clusterContext struct {
	Provider string `json:"provider"`
	// OpenKeys are the networks from which port 4001 can be reached, beside the hosts themselves.
	OpenKeys []netip.Prefix `json:"open_keys,omitempty"`
	// SSHFrom and Web are of DigitalOcean's firewall.
	SSHFrom []netip.Prefix `json:"ssh_from,omitempty"`
	Web     bool           `json:"web,omitempty"`
}

// readContext reads what is kept about a cluster, the zero value where nothing is.
func readContext(dir string) (kept clusterContext, err error) {
	text, err := os.ReadFile(filepath.Join(dir, contextFile))
	if errors.Is(err, fs.ErrNotExist) {
		return kept, nil
	}
	if err != nil {
		return kept, fmt.Errorf("read what is known of the cluster: %w", err)
	}
	if err := json.Unmarshal(text, &kept); err != nil {
		return kept, fmt.Errorf("read what is known of the cluster: %s: %w", filepath.Join(dir, contextFile), err)
	}
	return kept, nil
}

// write keeps the context, the whole of it or as it was before.
func (c clusterContext) write(dir string) error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	temp := filepath.Join(dir, contextFile+".new")
	if err == nil {
		err = writeSynced(temp, append(text, '\n'))
	}
	if err == nil {
		err = os.Rename(temp, filepath.Join(dir, contextFile))
	}
	if err != nil {
		return fmt.Errorf("keep what is known of the cluster: %w", err)
	}
	return nil
}

// doorFlags say from where the cluster's doors can be reached.
type doorFlags struct {
	openKeys    prefixes
	openToWorld bool
	web         *bool // nil if nothing was said
	close       bool
}

func (o *doorFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Var(&o.openKeys, "open-keys", "`network` from which port 4001 can be reached with a certificate, beside the hosts; may be repeated; default as it was: none at first")
	flags.BoolVar(&o.close, "close-keys", false, "open port 4001 to the hosts alone again")
	flags.BoolVar(&o.openToWorld, "open-keys-to-the-world", false, "allow --open-keys to be a network of more than 65,536 addresses")
}

// widest is how many bits of an address a network must say at least that the keys are opened to.
func widest(network netip.Prefix) int {
	if network.Addr().Is4() {
		return 16
	}
	return 32
}

// check says what is wrong with the flags.
func (o *doorFlags) check() error {
	if o.close && len(o.openKeys) > 0 {
		return usageError{"--open-keys and --close-keys: one of them"}
	}
	for _, network := range o.openKeys {
		if network.Bits() < widest(network) && !o.openToWorld {
			return usageError{fmt.Sprintf("--open-keys=%s: so wide a network takes --open-keys-to-the-world as well; a certificate is needed there, too, but no more than that", network)}
		}
	}
	return nil
}

// merge makes the command line of what the user wrote and of what is kept, and returns what to keep.
func (c *commandLine) merge(kept clusterContext) (clusterContext, error) {
	if kept.Provider != "" && kept.Provider != c.Provider {
		return kept, usageError{fmt.Sprintf("cluster %s is of provider %s, not %s", c.Cluster, kept.Provider, c.Provider)}
	}
	if err := c.Doors.check(); err != nil {
		return kept, err
	}
	kept.Provider = c.Provider
	switch {
	case c.Doors.close:
		kept.OpenKeys = nil
	case len(c.Doors.openKeys) > 0:
		kept.OpenKeys = slices.Clone(c.Doors.openKeys)
	}
	if len(c.DigitalOcean.SSHFrom) > 0 {
		kept.SSHFrom = c.DigitalOcean.SSHFrom
	}
	if c.Doors.web != nil {
		kept.Web = *c.Doors.web
	}
	c.DigitalOcean.SSHFrom, c.DigitalOcean.Web, c.DigitalOcean.KeysFrom = kept.SSHFrom, kept.Web, kept.OpenKeys
	return kept, nil
}
