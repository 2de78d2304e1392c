package dokkaacfg

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/dokkaa/dokkaa/dokkaacfg/hosting"
)

// hosted are hosts that are reached over SSH, wherever they are.
type hosted struct {
	hosting.Provider
	what string // they are, in a few words
	keep string // directory of what is kept about the cluster
	most int    // hosts that there can be
}

// hostedHost is one of them.
type hostedHost struct{ hosting.Host }

func (h hostedHost) IP() netip.Addr     { return h.Private }
func (h hostedHost) DockerHost() string { return fmt.Sprintf("ssh://%s@%s", h.User, h.SSH) }

func (h hosted) describe() string { return h.what }
func (h hosted) dir() string      { return h.keep }
func (h hosted) maxScale() int    { return h.most }

func (h hosted) prepare(context.Context, *progress) error {
	return usageError{fmt.Sprintf("this version cannot install anything on %s yet: --plan says what up would make, and nothing is made", h.what)}
}

func (h hosted) up(ctx context.Context, scale int, p *progress) ([]Host, error) {
	found, err := h.Make(ctx, scale, p.done)
	return asHosts(found), err
}

func (h hosted) hosts(ctx context.Context) ([]Host, error) {
	found, err := h.List(ctx)
	return asHosts(found.Hosts), err
}

func asHosts(found []hosting.Host) []Host {
	var all []Host
	for _, host := range found {
		all = append(all, hostedHost{host})
	}
	return all
}

func (h hosted) leftovers(ctx context.Context) ([]string, error) {
	found, err := h.List(ctx)
	var all []string
	for _, host := range found.Hosts {
		where := "without an address yet"
		if host.SSH.IsValid() {
			where = host.SSH.Addr().String()
		}
		all = append(all, fmt.Sprintf("host %s (%s)", host.Name, where))
	}
	return append(all, found.Others...), err
}

func (h hosted) kept(ctx context.Context) ([]string, error) {
	found, err := h.List(ctx)
	return found.Kept, err
}

func (h hosted) down(ctx context.Context) error { return h.RemoveAll(ctx) }
