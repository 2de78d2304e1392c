package engine

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/internal/docker"
)

// listed is a container in Docker's list. The client's own type leaves out what it was made of.
type listed struct {
	ID      string `json:"Id"`
	Names   []string
	Image   string // name that it was made by
	ImageID string
	Labels  map[string]string
	State   string
	Status  string
	Created int64
	Ports   []struct {
		PrivatePort, PublicPort int
		Type                    string // "tcp" or "udp"
	}
	Mounts []struct {
		Name string // of a volume
		RW   bool
	}
	NetworkSettings struct {
		Networks map[string]struct{ IPAddress string }
	}
}

// List returns every container of the cluster on this host, running or not. As long as it is not
// known which cluster that is, it is that of whatever containers are there.
func (e *Engine) List(ctx context.Context) ([]Container, error) {
	label := LabelCluster
	if id := e.Cluster(); id != "" {
		label += "=" + id
	}
	all, err := e.list(ctx, label)
	if err != nil {
		return nil, err
	}
	containers := make([]Container, 0, len(all))
	for _, l := range all {
		c := l.container()
		if c.identify(l.Labels) {
			containers = append(containers, c)
		} else {
			e.Log.Warn("container with incomplete labels is left alone", "container", c.Name)
		}
	}
	return containers, nil
}

// list asks for all containers that have the label, "" for all on the host.
func (e *Engine) list(ctx context.Context, label string) (all []listed, err error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	query := url.Values{}
	if label != "" {
		query = docker.Filters(map[string][]string{"label": {label}})
	}
	query.Set("all", "1")
	if err := e.Docker.Get(ctx, "/containers/json", query, &all); err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	return all, nil
}

func (l listed) container() Container {
	c := Container{ID: l.ID, ImageID: l.ImageID, Status: Status(l.State), Detail: l.Status, Created: time.Unix(l.Created, 0), Ports: map[Port]int{},
		Health: healthIn(l.Status), Up: upIn(l.Status)}
	if len(l.Names) > 0 {
		c.Name = strings.TrimPrefix(l.Names[0], "/")
	}
	if addr, err := netip.ParseAddr(l.NetworkSettings.Networks[Network].IPAddress); err == nil {
		c.Addr = addr
	}
	for _, p := range l.Ports {
		if p.PublicPort != 0 {
			c.Ports[Port{p.PrivatePort, p.Type == "udp"}] = p.PublicPort
		}
	}
	for _, m := range l.Mounts {
		if m.Name != "" && m.RW {
			c.Volumes = append(c.Volumes, m.Name)
		}
	}
	return c
}

// Clusters returns the ids of all clusters that containers on this host are labelled with.
func (e *Engine) Clusters(ctx context.Context) (map[string]int, error) {
	all, err := e.list(ctx, LabelCluster)
	if err != nil {
		return nil, err
	}
	clusters := map[string]int{}
	for _, l := range all {
		clusters[l.Labels[LabelCluster]]++
	}
	return clusters, nil
}
