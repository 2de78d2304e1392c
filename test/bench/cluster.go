//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/vhost"
)

const (
	app     = "bench"
	polling = 5 * time.Millisecond
	// patience is after how long something counts as never happening.
	patience = 2 * time.Minute
)

// cluster is the cluster that is measured.
type cluster struct {
	options
	hosts     *vhost.Cluster
	hostCount int
	http      *http.Client
}

func newCluster(o options) (*cluster, error) {
	subnet, err := netip.ParsePrefix(o.Subnet)
	if err != nil {
		return nil, fmt.Errorf("subnet: %w", err)
	}
	hosts, err := vhost.New(vhost.Options{Name: o.Cluster, Subnet: subnet})
	if err != nil {
		return nil, err
	}
	return &cluster{options: o, hosts: hosts, http: newHTTP(time.Second)}, nil
}

func (c *cluster) dokkaacfg(ctx context.Context, args ...string) error {
	args = append([]string{"--cluster=" + c.Cluster, "--subnet=" + c.Subnet}, args...)
	if out, err := exec.CommandContext(ctx, filepath.Join(c.Binaries, "dokkaacfg"), args...).CombinedOutput(); err != nil {
		return fmt.Errorf("dokkaacfg %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// up makes the cluster, or grows it.
func (c *cluster) up(ctx context.Context, hosts int) error {
	c.hostCount = hosts
	return c.dokkaacfg(ctx, "up", fmt.Sprintf("--scale=%d", hosts))
}

func (c *cluster) down(ctx context.Context) error { return c.dokkaacfg(ctx, "down", "--yes") }

func (c *cluster) ip(host int) string { return c.hosts.Host(host).IP().String() }

func (c *cluster) engine(host int) engine {
	return engine{socket: c.hosts.Host(host).Socket(), ip: c.ip(host)}
}

// ask sends a request to the keys at a host's gateway. No such key is no error, but an empty node.
func (c *cluster) ask(ctx context.Context, host int, method, key, value string) (n node, err error) {
	address := "http://" + c.ip(host) + ":4001/v2/keys" + key
	var body io.Reader = http.NoBody
	if method == http.MethodPut {
		body = strings.NewReader(url.Values{"value": {value}}.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, address+"?recursive=true", body)
	if err != nil {
		return n, err
	}
	if method == http.MethodPut {
		req.URL.RawQuery = ""
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return n, fmt.Errorf("%s %s: %w", method, key, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return n, fmt.Errorf("%s %s: %w", method, key, err)
	}
	if resp.StatusCode == http.StatusNotFound {
		return n, nil
	}
	if resp.StatusCode/100 != 2 {
		return n, fmt.Errorf("%s %s: %s: %s", method, key, resp.Status, bytes.TrimSpace(data))
	}
	var reply struct{ Node node }
	if err := json.Unmarshal(data, &reply); err != nil {
		return n, fmt.Errorf("%s %s: %w", method, key, err)
	}
	return reply.Node, nil
}

// node is an etcd node.
type node struct {
	Key, Value string
	Nodes      []node
}

// put writes a container's manifest at the first host.
func (c *cluster) put(ctx context.Context, name, manifest string) error {
	_, err := c.ask(ctx, 1, http.MethodPut, state.Ref{App: app, Name: name}.ManifestKey(), manifest)
	return err
}

// remove removes containers and waits until nothing of them is left.
func (c *cluster) remove(ctx context.Context, names ...string) error {
	for _, name := range names {
		if _, err := c.ask(ctx, 1, http.MethodDelete, state.Ref{App: app, Name: name}.ManifestKey(), ""); err != nil {
			return err
		}
	}
	for _, name := range names {
		err := until(ctx, 50*time.Millisecond, func() error {
			n, err := c.ask(ctx, 1, http.MethodGet, state.Ref{App: app, Name: name}.Dir(), "")
			if err == nil && len(n.Nodes) > 0 {
				err = errors.New("its keys are still there")
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil
}

// healthy waits until a container is healthy, and returns the host it is on, of one with scale 1.
func (c *cluster) healthy(ctx context.Context, name string, scale int) (host int, err error) {
	err = until(ctx, 50*time.Millisecond, func() error {
		n, err := c.ask(ctx, 1, http.MethodGet, state.Ref{App: app, Name: name}.StatusKey(), "")
		if err != nil {
			return err
		}
		var s state.Status
		if err := json.Unmarshal([]byte(n.Value), &s); err != nil {
			return fmt.Errorf("status %q: %w", n.Value, err)
		}
		if s.Healthy != scale || s.Wanted != scale || len(s.Slots) != scale {
			return fmt.Errorf("status %s", n.Value)
		}
		for host = 1; c.ip(host) != s.Slots[0].Host; {
			host++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("wait for %s: %w", name, err)
	}
	return host, nil
}

// until asks again and again until there is no error.
func until(ctx context.Context, every time.Duration, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-ticker.C:
		}
	}
}

// wait lets time pass.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
