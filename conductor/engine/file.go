package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"
)

// File is a file that is put into a container before it starts. Its content may be a secret.
type File struct {
	Path     string // absolute
	Mode     int    // permissions
	UID, GID int    // of its owner, in the container
	Content  []byte
}

// String does not tell the content, whoever prints it.
func (f File) String() string { return f.Path }

// GoString does not either.
func (f File) GoString() string { return f.Path }

// Put writes files into a container that does not run, and makes the directories that they need.
// They stay when the container is restarted.
func (e *Engine) Put(ctx context.Context, id string, files []File) error {
	if len(files) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, quickTimeout)
	defer cancel()
	client, err := e.Docker.Client(ctx)
	if err != nil {
		return err
	}
	archive, err := archiveOf(files)
	if err != nil {
		return err
	}
	err = client.UploadToContainer(id, dockerclient.UploadToContainerOptions{InputStream: archive, Path: "/",
		NoOverwriteDirNonDir: true, Context: ctx})
	if err != nil {
		return fmt.Errorf("put files into the container: %w", err)
	}
	return nil
}

// archiveOf is a tar archive of the files alone: Docker makes the directories that are missing, and
// leaves those that are there as they are.
func archiveOf(files []File) (*bytes.Buffer, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, f := range files {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(f.Path, "/"), Mode: int64(f.Mode), Uid: f.UID, Gid: f.GID,
			Size: int64(len(f.Content)), ModTime: time.Now()}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("write file %s: %w", f.Path, err)
		}
		if _, err := w.Write(f.Content); err != nil {
			return nil, fmt.Errorf("write file %s: %w", f.Path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("write files: %w", err)
	}
	return &archive, nil
}
