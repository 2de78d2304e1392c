package dokkaacfg

import (
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/dokkaacfg/given"
)

const maxGivenHosts = 100

// givenHosts are what up was told of hosts that are there already.
type givenHosts struct {
	hosts    []string
	identity string
}

// chooseGiven takes hosts that are there already.
func chooseGiven(c commandLine, log *slog.Logger) (provider, error) {
	dir, err := keptDir()
	if err != nil {
		return nil, err
	}
	keep := filepath.Join(dir, c.Cluster)
	kept, err := readContext(keep)
	if err != nil {
		return nil, err
	}
	if kept, err = c.merge(kept); err != nil {
		return nil, err
	}
	var more []given.Address
	for _, text := range c.Given.hosts {
		address, err := given.ParseAddress(text)
		if err != nil {
			return nil, usageError{err.Error()}
		}
		if c.Given.identity != "" {
			if address.KeyFile, err = filepath.Abs(c.Given.identity); err != nil {
				return nil, err
			}
		}
		more = append(more, address)
	}
	h := newHosted(given.New(filepath.Join(keep, "hosts.json"), more), "ssh", "hosts over SSH", keep, maxGivenHosts, log)
	h.context = kept
	h.stay, h.patience = true, givenHostPatience
	return h, nil
}

// givenFlags say which hosts there are.
func givenFlags(cmd *cobra.Command, o *givenHosts) {
	flags := cmd.Flags()
	flags.StringArrayVar(&o.hosts, "host", nil, "`[user@]address[:port][=private]` of a host for --provider=ssh; may be repeated; private is the address by which the others reach it, if that is another; hosts are remembered")
	flags.StringVar(&o.identity, "identity", "", "`file` of the private key for the hosts of --host; default those of the agent and of ~/.ssh")
}
