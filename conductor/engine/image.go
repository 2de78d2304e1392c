package engine

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	dockerclient "github.com/fsouza/go-dockerclient"

	"github.com/dokkaa/dokkaa/internal/docker"
)

// Errors about images.
var (
	// ErrNoImage says that an image is not on the host.
	ErrNoImage = errors.New("image is not on this host")
	// ErrImageAbsent says that there is no such image for this host, as far as those know who should
	// have it: trying again will not help.
	ErrImageAbsent = errors.New("there is no such image")
)

// Image is an image that is on the host.
type Image struct {
	ID      string
	Tags    []string // "nginx:1.2"
	Digests []string // "nginx@sha256:…": what registries call it
}

// Image finds an image by its name, digest or id. It returns ErrNoImage if it is not on the host.
func (e *Engine) Image(ctx context.Context, name string) (Image, error) {
	ctx, cancel := context.WithTimeout(ctx, quickTimeout)
	defer cancel()
	var image struct {
		ID          string `json:"Id"`
		RepoTags    []string
		RepoDigests []string
	}
	err := e.Docker.Get(ctx, "/images/"+(&url.URL{Path: name}).EscapedPath()+"/json", nil, &image)
	switch {
	case docker.IsNotFound(err):
		return Image{}, ErrNoImage
	case err != nil:
		return Image{}, fmt.Errorf("inspect image %s: %w", name, err)
	}
	return Image{ID: image.ID, Tags: image.RepoTags, Digests: image.RepoDigests}, nil
}

// UsedImages are the ids of the images of all containers on the host, also of those that are not ours,
// and the names that these were made by.
func (e *Engine) UsedImages(ctx context.Context) (map[string]bool, error) {
	all, err := e.list(ctx, "")
	if err != nil {
		return nil, err
	}
	used := make(map[string]bool, 2*len(all))
	for _, c := range all {
		used[c.ImageID], used[Familiar(c.Image)] = true, true
	}
	return used, nil
}

// RemoveImage takes a name off an image, and removes the image with its last name. Docker refuses
// that while a container has it. One that is gone counts as removed.
func (e *Engine) RemoveImage(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	client, err := e.Docker.Client(ctx)
	if err != nil {
		return err
	}
	err = client.RemoveImageExtended(name, dockerclient.RemoveImageOptions{Context: ctx})
	if err != nil && !docker.IsNotFound(err) {
		return fmt.Errorf("remove image %s: %w", name, err)
	}
	return nil
}

// IsImageID tells an image's id from its name.
func IsImageID(image string) bool { return strings.HasPrefix(image, "sha256:") }

// absences are the words in which registries, through Docker, say that there is no such image.
// Once Docker has begun to answer there is no status beside them.
var absences = []string{
	"manifest unknown",          // no such tag or digest
	"name unknown",              // no such repository
	"repository does not exist", // or is not for everybody: what is denied is told like this
	"no matching manifest for",  // not for this architecture
	"invalid reference format",  // nobody can have it
}

// isAbsence tells whether a pull failed because there is no such image.
func isAbsence(err error) bool {
	return docker.IsNotFound(err) || slices.ContainsFunc(absences, func(words string) bool { return strings.Contains(err.Error(), words) })
}

// Familiar is an image's name as Docker lists it: with tag or digest, and without what Docker Hub's
// need not be written with.
func Familiar(image string) string {
	if _, digest, found := strings.Cut(image, "@"); found {
		return Repository(image) + "@" + digest
	}
	_, tag := splitImage(image)
	return Repository(image) + ":" + tag
}

// Repository is where an image is from, as Docker lists it.
func Repository(image string) string {
	name, _, _ := strings.Cut(image, "@")
	name, _ = splitImage(name)
	for _, hub := range []string{"docker.io/", "index.docker.io/"} {
		if rest, found := strings.CutPrefix(name, hub); found {
			return strings.TrimPrefix(rest, "library/")
		}
	}
	return name
}
