package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	dockerclient "github.com/fsouza/go-dockerclient"

	"github.com/dokkaa/dokkaa/internal/docker"
)

// ErrNoContainer says that this process does not run in a container.
var ErrNoContainer = errors.New("this process does not run in a container")

// Helper is a second container of our own image, for what our own container may not do.
type Helper struct {
	Name   string
	Args   []string
	Env    []string
	CapAdd []string
	// Files are paths in our own container that it has, too, where they are in what is mounted there.
	Files []string
}

// Labels of a helper: it is replaced when what it was made from changed.
const (
	labelHelper = "dokkaa.helper"
	labelImage  = "dokkaa.helper.image"
)

// EnsureHelper makes sure that the helper runs, in the host's network and from the image that
// this process runs from. It returns ErrNoContainer where there is none.
func (e *Engine) EnsureHelper(ctx context.Context, helper Helper) error {
	ctx, cancel := context.WithTimeout(ctx, quickTimeout)
	defer cancel()
	client, err := e.Docker.Client(ctx)
	if err != nil {
		return err
	}
	self, err := e.self(ctx, client)
	if err != nil {
		return err
	}
	labels := map[string]string{labelHelper: "1", labelImage: self.Image}
	there, err := client.InspectContainerWithOptions(dockerclient.InspectContainerOptions{ID: helper.Name, Context: ctx})
	switch {
	case docker.IsNotFound(err):
	case err != nil:
		return fmt.Errorf("inspect container %s: %w", helper.Name, err)
	case there.Config.Labels[labelHelper] == "":
		return fmt.Errorf("the name %s is taken by a container that is not ours", helper.Name)
	case there.State.Running && asMade(there, helper, labels):
		return nil
	default:
		err := client.RemoveContainer(dockerclient.RemoveContainerOptions{ID: there.ID, Force: true, Context: ctx})
		if err != nil && !docker.IsNotFound(err) {
			return fmt.Errorf("remove container %s: %w", helper.Name, err)
		}
	}
	made, err := client.CreateContainer(dockerclient.CreateContainerOptions{
		Name:    helper.Name,
		Context: ctx,
		Config:  &dockerclient.Config{Image: self.Image, Cmd: helper.Args, Env: helper.Env, Labels: labels},
		HostConfig: &dockerclient.HostConfig{NetworkMode: "host", CapAdd: helper.CapAdd, Binds: bindsOf(self, helper.Files), RestartPolicy: dockerclient.AlwaysRestart(),
			LogConfig: logConfig},
	})
	if err != nil {
		return fmt.Errorf("create container %s: %w", helper.Name, err)
	}
	if err := client.StartContainerWithContext(made.ID, nil, ctx); err != nil {
		return fmt.Errorf("start container %s: %w", helper.Name, err)
	}
	return nil
}

// bindsOf are the binds of a container that hold the files.
func bindsOf(c *dockerclient.Container, files []string) (binds []string) {
	if c.HostConfig == nil {
		return nil
	}
	for _, bind := range c.HostConfig.Binds {
		parts := strings.Split(bind, ":")
		holds := func(file string) bool { return len(parts) > 1 && strings.HasPrefix(file, parts[1]+"/") }
		if slices.ContainsFunc(files, holds) {
			binds = append(binds, bind)
		}
	}
	return binds
}

func asMade(c *dockerclient.Container, helper Helper, labels map[string]string) bool {
	for key, value := range labels {
		if c.Config.Labels[key] != value {
			return false
		}
	}
	for _, variable := range helper.Env {
		if !slices.Contains(c.Config.Env, variable) {
			return false
		}
	}
	return slices.Equal(c.Config.Cmd, helper.Args)
}

var containerPath = regexp.MustCompile(`/containers/([0-9a-f]{64})/`)

// ownContainer finds the id of the container that this process runs in: Docker mounts files of
// its directory over /etc/hostname and others.
func ownContainer() (string, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", ErrNoContainer
	}
	defer file.Close()
	return containerIn(file)
}

func containerIn(mountinfo io.Reader) (string, error) {
	ids := map[string]bool{}
	for lines := bufio.NewScanner(mountinfo); lines.Scan(); {
		if match := containerPath.FindStringSubmatch(lines.Text()); match != nil {
			ids[match[1]] = true
		}
	}
	if len(ids) != 1 {
		return "", ErrNoContainer // none, or a process outside that sees those of all
	}
	return slices.Collect(maps.Keys(ids))[0], nil
}
