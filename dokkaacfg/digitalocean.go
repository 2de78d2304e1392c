package dokkaacfg

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/dokkaacfg/digitalocean"
)

// tokenFile is where the token of DigitalOcean's API may be, in the directory of what is kept
// about clusters.
const tokenFile = "digitalocean-token"

// chooseDigitalOcean takes droplets.
func chooseDigitalOcean(c commandLine, log *slog.Logger) (provider, error) {
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
	options := c.DigitalOcean
	if options.Token, err = digitalocean.ReadToken(os.Getenv, filepath.Join(dir, tokenFile)); err != nil {
		return nil, usageError{err.Error()}
	}
	options.Cluster, options.API, options.Log = c.Cluster, os.Getenv(digitalocean.APIVariable), log
	p, err := digitalocean.New(options)
	if err != nil {
		return nil, usageError{err.Error()}
	}
	h := newHosted(p, "digitalocean", "droplets at DigitalOcean", keep, digitalocean.MaxHosts, log)
	h.context = kept
	return h, nil
}

// keptDir is the directory of what is kept about clusters whose hosts are not on this machine.
func keptDir() (string, error) {
	config, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the directory for what is kept about clusters: %w", err)
	}
	return filepath.Join(config, "dokkaa"), nil
}

// digitalOceanFlags are what one can ask of droplets.
func digitalOceanFlags(cmd *cobra.Command, o *digitalocean.Options, web **bool) {
	const ofNew = "; default as the hosts that there are, or "
	flags := cmd.Flags()
	flags.StringVar(&o.KeyName, "ssh-key", "", "`name` of an SSH key in the account at DigitalOcean, to log into new hosts with")
	flags.StringVar(&o.Region, "region", "", "`slug` of the region of new hosts at DigitalOcean"+ofNew+digitalocean.DefaultRegion)
	flags.StringVar(&o.Size, "size", "", "`slug` of the size of new hosts at DigitalOcean"+ofNew+digitalocean.DefaultSize)
	flags.StringVar(&o.Image, "image", "", "`slug` of the image of new hosts at DigitalOcean"+ofNew+digitalocean.DefaultImage)
	flags.StringVar(&o.VPC, "vpc", "", "`id` of the private network at DigitalOcean for the hosts; default one of the cluster's own")
	flags.Var((*prefixes)(&o.SSHFrom), "ssh-from", "`network` from which port 22 can be reached, at DigitalOcean; may be repeated; default as it was: this machine only at first")
	flags.BoolFunc("web", "open ports 80 and 443 of hosts at DigitalOcean to the world; default as it was: closed at first", func(text string) error {
		open, err := strconv.ParseBool(text)
		*web = &open
		return err
	})
}

// prefixes is a flag that may be repeated.
type prefixes []netip.Prefix

func (p *prefixes) String() string {
	if len(*p) == 0 {
		return ""
	}
	return fmt.Sprint([]netip.Prefix(*p))
}

// Type is what the help shows for a value.
func (p *prefixes) Type() string { return "network" }

// Set takes a network, or an address for itself.
func (p *prefixes) Set(text string) error {
	prefix, err := netip.ParsePrefix(text)
	if ip, single := netip.ParseAddr(text); single == nil {
		prefix, err = netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	if err != nil {
		return err
	}
	*p = append(*p, prefix.Masked())
	return nil
}
