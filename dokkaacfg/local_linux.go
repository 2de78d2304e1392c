package dokkaacfg

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/dokkaa/dokkaa/internal/vhost"
)

// chooseLocal takes virtual hosts where they can be had.
func chooseLocal(c commandLine, log *slog.Logger) (provider, error) {
	if os.Geteuid() != 0 {
		return newOwnEngine(c, "virtual hosts need root", log)
	}
	cluster, err := vhost.New(vhost.Options{
		Name: c.Cluster, Subnet: c.Subnet, Dir: filepath.Join(c.StateDir, c.Cluster), Log: log,
	})
	if err != nil {
		return nil, usageError{err.Error()}
	}
	return virtualHosts{cluster}, nil
}

// virtualHosts are hosts that exist on this machine only.
type virtualHosts struct{ cluster *vhost.Cluster }

func (v virtualHosts) describe() string {
	return fmt.Sprintf("virtual hosts in %s on this machine", v.cluster.Subnet())
}

func (v virtualHosts) dir() string { return v.cluster.Dir() }

func (v virtualHosts) prepare(ctx context.Context, p *progress) error {
	return installPrograms(ctx, p, virtualHostPrograms)
}

func (v virtualHosts) maxScale() int { return vhost.MaxHosts }

func (v virtualHosts) up(ctx context.Context, scale int, _ *progress) ([]Host, error) {
	existing, err := v.cluster.Hosts()
	if err != nil {
		return nil, err
	}
	// All of them, or after a restart of the machine some would be missing; and the lowest free
	// numbers, as those of hosts that were removed are.
	var numbers []int
	for _, host := range existing {
		numbers = append(numbers, host.Number())
	}
	for n := 1; len(numbers) < scale; n++ {
		if !slices.Contains(numbers, n) {
			numbers = append(numbers, n)
		}
	}
	if err := v.cluster.UpHosts(ctx, numbers); err != nil {
		return nil, err
	}
	return v.hosts(ctx)
}

func (v virtualHosts) hosts(context.Context) ([]Host, error) {
	found, err := v.cluster.Hosts()
	if err != nil {
		return nil, err
	}
	var hosts []Host
	for _, host := range found {
		hosts = append(hosts, host)
	}
	return hosts, nil
}

func (v virtualHosts) remove(ctx context.Context, host Host) error {
	found, ok := host.(*vhost.Host)
	if !ok {
		return fmt.Errorf("host %s is not a virtual one", host.IP())
	}
	return found.Destroy(ctx)
}

func (v virtualHosts) leftovers(ctx context.Context) ([]string, error) {
	return v.cluster.Leftovers(ctx)
}

func (v virtualHosts) down(ctx context.Context) error { return v.cluster.Down(ctx) }

// commandOn is a command on a host of this machine.
func commandOn(ctx context.Context, host Host, name string, args ...string) *exec.Cmd {
	if virtual, ok := host.(*vhost.Host); ok {
		return virtual.Command(ctx, name, args...)
	}
	return exec.CommandContext(ctx, name, args...)
}
