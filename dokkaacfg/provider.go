package dokkaacfg

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
)

// Host is a machine of a cluster, virtual or not, on which the daemons run.
type Host interface {
	IP() netip.Addr     // by which the others reach it
	DockerHost() string // its Docker Engine, in the form of the DOCKER_HOST variable
}

// provider makes and removes the hosts of one cluster. Its methods are idempotent.
type provider interface {
	// describe says in a few words what the hosts are.
	describe() string
	// dir is the directory on this machine of what is kept about the cluster, for good: down
	// removes it. It need not exist.
	dir() string
	// prepare installs what the hosts need on this machine, telling of it.
	prepare(ctx context.Context, p *progress) error
	// maxScale is the greatest number of hosts that there can be.
	maxScale() int
	// up makes sure that hosts 1 to scale exist and run, and returns these and any others. It
	// tells of what takes long.
	up(ctx context.Context, scale int, p *progress) ([]Host, error)
	// hosts returns those that exist, running or not.
	hosts(ctx context.Context) ([]Host, error)
	// remove removes a host with all that is on it, whether or not it runs; where hosts outlive the
	// cluster, all that is ours. One that is gone is no error.
	remove(ctx context.Context, host Host) error
	// leftovers names everything that down would remove.
	leftovers(ctx context.Context) ([]string, error)
	// down removes the hosts and all that is on them, in whatever state they are.
	down(ctx context.Context) error
}

func chooseProvider(c commandLine, log *slog.Logger) (provider, error) {
	switch c.Provider {
	case "local":
		return chooseLocal(c, log)
	case "digitalocean":
		return chooseDigitalOcean(c, log)
	case "ssh":
		return chooseGiven(c, log)
	}
	return nil, usageError{fmt.Sprintf("provider %q is not supported by this version; there are: local, digitalocean, ssh", c.Provider)}
}

func addresses(hosts []Host) []netip.Addr {
	var all []netip.Addr
	for _, host := range hosts {
		all = append(all, host.IP())
	}
	return all
}
