package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"
	"golang.org/x/sync/singleflight"

	"github.com/dokkaa/dokkaa/internal/docker"
)

// Deadlines of requests to the Engine.
const (
	listTimeout  = 10 * time.Second
	quickTimeout = 30 * time.Second // create, start, rename, remove
	pullTimeout  = 30 * time.Minute
	pullSilence  = 2 * time.Minute // a pull without progress for this long is given up
	// removeTimeout is for an image, of which many files may have to be deleted.
	removeTimeout = 5 * time.Minute
)

// Options make an Engine.
type Options struct {
	Docker  *docker.Engine
	Cluster func() string // the cluster's id; containers of others are never touched
	HostIP  string        // where services' ports are published
	// PublicIP is where those with a fixed port on the host are published beside HostIP; "" is
	// every address of the host.
	PublicIP string
	// Nameservers are asked by containers when ours does not answer.
	Nameservers []string
	Log         *slog.Logger
}

// Engine runs this cluster's containers on one Docker Engine. It is safe for concurrent use.
type Engine struct {
	Options
	pulls singleflight.Group // by image
}

// New makes an Engine; it does no I/O.
func New(options Options) *Engine { return &Engine{Options: options} }

// ErrNoNetwork says that a container was made for a network that is gone. Docker will never start
// it, also where there is a new network of this name.
var ErrNoNetwork = errors.New("its network is gone")

// Start starts a created or exited container; one that runs already counts as started. It returns
// ErrNoNetwork where the container has to be made anew.
func (e *Engine) Start(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, quickTimeout)
	defer cancel()
	// The client's own call asks for the Engine's version first, without a deadline.
	response, err := e.Docker.Do(ctx, http.MethodPost, "/containers/"+url.PathEscape(id)+"/start", nil)
	var refusal *dockerclient.Error
	switch {
	case err == nil:
		response.Body.Close()
		return nil
	case errors.As(err, &refusal) && refusal.Status == http.StatusNotModified: // it runs
		return nil
	case docker.IsNotFound(err) && strings.Contains(err.Error(), `"network `): // Docker says it in words only
		return fmt.Errorf("start container: %w: %w", ErrNoNetwork, err)
	}
	return fmt.Errorf("start container: %w", err)
}

// Rename gives a container another name, which must be free.
func (e *Engine) Rename(ctx context.Context, id, name string) error {
	ctx, cancel := context.WithTimeout(ctx, quickTimeout)
	defer cancel()
	client, err := e.Docker.Client(ctx)
	if err != nil {
		return err
	}
	err = client.RenameContainer(dockerclient.RenameContainerOptions{ID: id, Name: name, Context: ctx})
	if docker.IsConflict(err) {
		if _, taken := e.adopt(ctx, client, Spec{Name: name}); taken != nil && !docker.IsNotFound(taken) {
			err = taken // says by whom
		}
	}
	if err != nil {
		return fmt.Errorf("rename container: %w", err)
	}
	return nil
}

// Stop ends a container, with SIGTERM and after grace with SIGKILL, and removes it with its
// anonymous volumes. One that is gone already counts as stopped.
func (e *Engine) Stop(ctx context.Context, id string, grace time.Duration) error {
	if err := e.Halt(ctx, id, grace); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, quickTimeout)
	defer cancel()
	client, err := e.Docker.Client(ctx)
	if err != nil {
		return err
	}
	err = client.RemoveContainer(dockerclient.RemoveContainerOptions{ID: id, Force: true, RemoveVolumes: true, Context: ctx})
	if err != nil && !docker.IsNotFound(err) {
		return fmt.Errorf("remove container: %w", err)
	}
	return nil
}
