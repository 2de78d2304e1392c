package dokkaacfg

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	dockerclient "github.com/fsouza/go-dockerclient"
	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/docker"
	"github.com/dokkaa/dokkaa/internal/state"
)

// imagesFlags are those of the commands that bring our images onto hosts.
func imagesFlags(cmd *cobra.Command, dir, registry *string) {
	cmd.Flags().StringVar(dir, "images", defaultImages(), "`directory` of the images")
	cmd.Flags().StringVar(registry, "registry", "", "`host/prefix` of our images in a registry from which hosts pull them, if they are those of --images; default they are sent")
}

// imageRegistry is where hosts pull our images from.
type imageRegistry struct {
	prefix string // for example registry.example.com/dokkaa
	auth   dockerclient.AuthConfiguration
}

// newImageRegistry takes the login that "docker login" keeps on this machine, if there is one.
func newImageRegistry(prefix string) imageRegistry {
	registry := state.RegistryOf(prefix + "/image")
	address := state.RegistryAddress(registry)
	r := imageRegistry{prefix: strings.TrimSuffix(prefix, "/")}
	if all, err := dockerclient.NewAuthConfigurationsFromDockerCfg(); err == nil { // no file is no login
		r.auth = all.Configs[address]
	}
	if helped, err := dockerclient.NewAuthConfigurationsFromCredsHelpers(address); err == nil && r.auth.Username == "" {
		r.auth = *helped
	}
	if r.auth.Username != "" {
		r.auth.ServerAddress = address
	}
	return r
}

// has tells whether the image is one of those that are pulled: the demo's are not part of a release.
func (imageRegistry) has(image imageFile) bool { return strings.HasPrefix(image.tag, "dokkaa/") }

// name is what the registry has to have the image as.
func (r imageRegistry) name(image imageFile) (repository, tag string) {
	ours, tag, _ := strings.Cut(image.tag, ":")
	for _, other := range image.tags {
		if release, found := strings.CutPrefix(other, ours+":"); found && other != image.tag {
			tag = release
		}
	}
	return r.prefix + "/" + path.Base(ours), tag
}

// pull has the engine pull an image, unless it has it, and tells whether it did. An image that is
// another than ours is refused.
func (e *engine) pull(ctx context.Context, image imageFile, from imageRegistry) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	if has, _, err := e.hasImage(ctx, image); err != nil || has {
		return false, err
	}
	repository, tag := from.name(image)
	name := repository + ":" + tag
	err := e.client.PullImage(dockerclient.PullImageOptions{Repository: repository, Tag: tag, OutputStream: io.Discard, Context: ctx}, from.auth)
	if err != nil {
		return false, fmt.Errorf("pull image %s: %s", name, docker.Words(err))
	}
	// Its names go when it has ours, or if it is not the right one.
	defer e.client.RemoveImageExtended(name, dockerclient.RemoveImageOptions{Context: ctx})
	pulled := image
	pulled.tag = name
	if has, _, err := e.hasImage(ctx, pulled); err != nil {
		return false, err
	} else if !has {
		return false, fmt.Errorf("registry image %s is not the one of %s: push that one there, as docs/operations.md says", name, image.path)
	}
	for _, own := range image.tags {
		repository, tag, _ := strings.Cut(own, ":")
		if err := e.client.TagImage(name, dockerclient.TagImageOptions{Repo: repository, Tag: tag, Force: true, Context: ctx}); err != nil {
			return false, fmt.Errorf("name image %s: %w", own, err)
		}
	}
	return true, nil
}
