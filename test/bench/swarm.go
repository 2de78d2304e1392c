//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/internal/vhost"
)

// swarm is Docker's swarm mode on virtual hosts of its own, all of them managers. Their Engines are
// like the others', but without live-restore, which swarm mode refuses.
type swarm struct {
	hosts  *vhost.Cluster
	images string // directory of the archives
	count  int    // hosts that take part
	image  string // the web server's id: what has an id is not looked for in a registry

	service []string // options of "docker service create"
	changed []string // options of "docker service update"
	changes int
}

func newSwarm(o options) (*swarm, error) {
	subnet, err := netip.ParsePrefix(o.SwarmSubnet)
	if err != nil {
		return nil, fmt.Errorf("subnet of the swarm: %w", err)
	}
	hosts, err := vhost.New(vhost.Options{Name: o.Cluster + "sw", Subnet: subnet, NoLiveRestore: true})
	if err != nil {
		return nil, err
	}
	return &swarm{hosts: hosts, images: o.Images}, nil
}

// up makes the swarm, or grows it.
func (s *swarm) up(ctx context.Context, hosts int) error {
	if err := s.hosts.Up(ctx, hosts); err != nil {
		return err
	}
	for s.count < hosts {
		if err := s.join(ctx, s.count+1); err != nil {
			return fmt.Errorf("take host %d into the swarm: %w", s.count+1, err)
		}
		s.count++
		if err := s.ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *swarm) join(ctx context.Context, host int) error {
	e := s.engine(host)
	if _, err := e.docker(ctx, "load", "-q", "-i", filepath.Join(s.images, strings.ReplaceAll(webImage, "/", "-")+".tar")); err != nil {
		return err
	}
	if host == 1 {
		if _, err := e.docker(ctx, "swarm", "init", "--advertise-addr", e.ip); err != nil {
			return err
		}
		var err error
		s.image, err = e.docker(ctx, "image", "inspect", "-f", "{{.Id}}", webImage)
		return err
	}
	token, err := s.engine(1).docker(ctx, "swarm", "join-token", "-q", "manager")
	if err != nil {
		return err
	}
	_, err = e.docker(ctx, "swarm", "join", "--advertise-addr", e.ip, "--token", token, s.engine(1).ip+":2377")
	if err != nil && strings.Contains(err.Error(), "will continue in the background") {
		return nil // on a busy machine; whether it did is seen then
	}
	return err
}

// ready waits until all hosts take part.
func (s *swarm) ready(ctx context.Context) error {
	return until(ctx, 100*time.Millisecond, func() error {
		out, err := s.engine(1).docker(ctx, "node", "ls", "--format", "{{.Status}} {{.ManagerStatus}}")
		if err == nil && strings.Count(out, "Ready Leader")+strings.Count(out, "Ready Reachable") != s.count {
			err = fmt.Errorf("the hosts of the swarm are %q", out)
		}
		return err
	})
}

func (s *swarm) down(ctx context.Context) error {
	s.count = 0
	return s.hosts.Down(ctx)
}

func (s *swarm) engine(host int) engine {
	h := s.hosts.Host(host)
	return engine{socket: h.Socket(), ip: h.IP().String()}
}

func (s *swarm) engines() []engine {
	var all []engine
	for host := 1; host <= s.count; host++ {
		all = append(all, s.engine(host))
	}
	return all
}

func (s *swarm) label() string { return "com.docker.swarm.service.name=" + webName }

func (s *swarm) run(ctx context.Context, n int) error {
	args := []string{"service", "create", "--detach", "--quiet", "--name", webName, "--replicas", fmt.Sprint(n),
		"--no-resolve-image", "--publish", "mode=host,target=80"}
	_, err := s.engine(1).docker(ctx, append(append(args, s.service...), s.image)...)
	return err
}

func (s *swarm) scale(ctx context.Context, n int) error {
	_, err := s.engine(1).docker(ctx, "service", "scale", "--detach", fmt.Sprintf("%s=%d", webName, n))
	return err
}

func (s *swarm) update(ctx context.Context) error {
	s.changes++
	args := []string{"service", "update", "--detach", "--quiet", "--no-resolve-image", "--env-add", fmt.Sprintf("CHANGE=%d", s.changes)}
	_, err := s.engine(1).docker(ctx, append(append(args, s.changed...), webName)...)
	return err
}

func (s *swarm) clear(ctx context.Context) error {
	if _, err := s.engine(1).docker(ctx, "service", "rm", webName); err != nil {
		return err
	}
	return until(ctx, 50*time.Millisecond, func() error {
		for _, e := range s.engines() {
			if left, err := e.list(ctx, s.label()); err != nil || len(left) > 0 {
				return errors.Join(err, fmt.Errorf("%d containers are left", len(left)))
			}
		}
		return nil
	})
}

// follower is a host whose manager does not lead, and which is not asked for anything.
func (s *swarm) follower(ctx context.Context) (host int, err error) {
	for host = s.count; host > 1; host-- {
		role, err := s.engine(1).docker(ctx, "node", "inspect", "-f", "{{.ManagerStatus.Leader}}", s.hosts.Host(host).Name())
		if err != nil || role == "false" {
			return host, err
		}
	}
	return 0, errors.New("no host of the swarm follows")
}
