package dokkaacfg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/dokkaa/dokkaa/internal/docker"
)

// ownEngine is a cluster of one host: this machine, with the Docker Engine that is there. What
// runs on the engine beside Dokkaa is not touched.
type ownEngine struct {
	reason string // why it is not virtual hosts
	engine *docker.Engine
	ip     netip.Addr
	keep   string // directory of what is kept about the cluster
}

func newOwnEngine(c commandLine, reason string, log *slog.Logger) (provider, error) {
	engine, err := docker.New(cmp.Or(os.Getenv("DOCKER_HOST"), docker.DefaultHost), log)
	if err != nil {
		return nil, usageError{fmt.Sprintf("DOCKER_HOST: %v", err)}
	}
	ip, err := primaryAddress()
	if err != nil {
		return nil, err
	}
	// Not the state directory, which is root's. An engine in a virtual machine has the home mounted.
	dir, err := keptDir()
	if err != nil {
		return nil, err
	}
	return &ownEngine{reason: reason, engine: engine, ip: ip, keep: filepath.Join(dir, c.Cluster)}, nil
}

// primaryAddress is the machine's IPv4 address on its way to the world. Nothing is sent.
func primaryAddress() (netip.Addr, error) {
	conn, err := net.Dial("udp4", "192.0.2.1:9")
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find this machine's address: %w", err)
	}
	defer conn.Close()
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, errors.New("find this machine's address: it has none")
	}
	return local.AddrPort().Addr().Unmap(), nil
}

func (o *ownEngine) IP() netip.Addr     { return o.ip }
func (o *ownEngine) DockerHost() string { return o.engine.Host() }

func (o *ownEngine) describe() string {
	return fmt.Sprintf("one host, this machine with its own Docker Engine (%s)", o.reason)
}

func (o *ownEngine) prepare(ctx context.Context, p *progress) error {
	client, err := o.engine.Client(ctx)
	if err != nil {
		return fmt.Errorf("%w\nInstall and start Docker, or run this as root on Linux", err)
	}
	version, err := client.VersionWithContext(ctx)
	if err != nil {
		return fmt.Errorf("ask Docker for its version: %w", err)
	}
	p.done("Docker Engine %s at %s", version.Get("Version"), o.engine.Host())
	return nil
}

func (o *ownEngine) dir() string { return o.keep }

func (o *ownEngine) maxScale() int { return 1 }

func (o *ownEngine) remove(context.Context, Host) error {
	return errors.New("this machine is the cluster's only host; dokkaacfg down removes the cluster")
}

func (o *ownEngine) up(context.Context, int, *progress) ([]Host, error) { return []Host{o}, nil }

func (o *ownEngine) hosts(ctx context.Context) ([]Host, error) {
	client, err := o.engine.Client(ctx)
	if err != nil {
		return nil, err
	}
	containers, err := ourContainers(ctx, client)
	if err != nil || len(containers) == 0 {
		return nil, err
	}
	return []Host{o}, nil
}

func (o *ownEngine) leftovers(ctx context.Context) ([]string, error) {
	remains, err := o.remains(ctx)
	var all []string
	for _, r := range remains {
		all = append(all, r.what)
	}
	return all, err
}

func (o *ownEngine) down(ctx context.Context) error {
	remains, err := o.remains(ctx)
	if err != nil {
		return err
	}
	return removeAll(ctx, remains)
}
