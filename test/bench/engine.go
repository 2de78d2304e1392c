//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// engine is a host's Docker Engine, spoken to as plainly as can be: this is what others are
// compared with.
type engine struct{ socket, ip string }

// request sends one request to the Engine's API and reads the answer into reply, if that is not nil.
func (e engine) request(ctx context.Context, method, path string, body, reply any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := e.transport().RoundTrip(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, bytes.TrimSpace(answer))
	}
	if reply == nil {
		return nil
	}
	return json.Unmarshal(answer, reply)
}

// transport connects to the Engine anew for each request.
func (e engine) transport() *http.Transport {
	return &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", e.socket)
	}}
}

// docker runs the Docker client and returns what it wrote.
func (e engine) docker(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", append([]string{"-H", "unix://" + e.socket}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(string(out)), nil
}

func (e engine) version(ctx context.Context) (string, error) {
	var v struct{ Version string }
	err := e.request(ctx, http.MethodGet, "/version", nil, &v)
	return v.Version, err
}

// container is what matters of a container here.
type container struct {
	ID    string `json:"Id"`
	State struct {
		Pid       int
		StartedAt time.Time
	}
	NetworkSettings struct {
		Ports map[string][]struct{ HostPort string }
	}
}

// served is where the container's port 80 is published.
func (e engine) served(c container) (addr string, err error) {
	bindings := c.NetworkSettings.Ports["80/tcp"]
	if len(bindings) == 0 {
		return "", fmt.Errorf("container %s publishes no port 80", c.ID)
	}
	return net.JoinHostPort(e.ip, bindings[0].HostPort), nil
}

func (e engine) inspect(ctx context.Context, id string) (c container, err error) {
	err = e.request(ctx, http.MethodGet, "/containers/"+id+"/json", nil, &c)
	return c, err
}

// reference is how the Engine names a container that it made or lists.
type reference struct {
	ID string `json:"Id"`
}

// list returns the containers that have the labels, running or not.
func (e engine) list(ctx context.Context, labels ...string) (all []reference, err error) {
	return e.find(ctx, "all=true", labels)
}

func (e engine) running(ctx context.Context, labels ...string) (all []reference, err error) {
	return e.find(ctx, "all=false", labels)
}

func (e engine) find(ctx context.Context, which string, labels []string) (all []reference, err error) {
	filters, err := json.Marshal(map[string][]string{"label": labels})
	if err != nil {
		return nil, err
	}
	err = e.request(ctx, http.MethodGet, "/containers/json?"+which+"&filters="+url.QueryEscape(string(filters)), nil, &all)
	return all, err
}

// newest is the running container that was started last, of those of a container of the cluster.
func (e engine) newest(ctx context.Context, name string) (newest container, err error) {
	listed, err := e.running(ctx, "dokkaa.app="+app, "dokkaa.name="+name)
	if err != nil {
		return newest, err
	}
	for _, l := range listed {
		c, err := e.inspect(ctx, l.ID)
		if err != nil {
			return newest, err
		}
		if c.State.StartedAt.After(newest.State.StartedAt) {
			newest = c
		}
	}
	if newest.ID == "" {
		return newest, errors.New("no container of " + name + " runs")
	}
	return newest, nil
}

func (e engine) remove(ctx context.Context, id string) error {
	return e.request(ctx, http.MethodDelete, "/containers/"+id+"?force=true&v=true", nil, nil)
}

// kill ends a container as a crash would, and returns when its first process has ended.
func (e engine) kill(ctx context.Context, id string) error {
	c, err := e.inspect(ctx, id)
	if err != nil {
		return err
	}
	if c.State.Pid <= 1 {
		return fmt.Errorf("container %s has process %d", id, c.State.Pid)
	}
	if err := syscall.Kill(c.State.Pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill process %d: %w", c.State.Pid, err)
	}
	return until(ctx, time.Millisecond, func() error {
		if err := syscall.Kill(c.State.Pid, 0); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("process %d is still there", c.State.Pid)
		}
		return nil
	})
}

// pause stops a container for a while.
func (e engine) pause(ctx context.Context, id string, d time.Duration) error {
	if err := e.request(ctx, http.MethodPost, "/containers/"+id+"/stop?t=2", nil, nil); err != nil {
		return err
	}
	if err := wait(ctx, d); err != nil {
		return err
	}
	return e.request(ctx, http.MethodPost, "/containers/"+id+"/start", nil, nil)
}
