package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// epoch is the time of every file and image: what is built twice is equal.
var epoch = time.Unix(0, 0).UTC()

// image is an image of one layer.
type image struct {
	repository string // for example dokkaa/conductor
	title      string // one sentence about it
	files      files
	config     v1.Config
	labels     map[string]string // beside those that all have

	arch, release string

	// versioned images say of which release they are. The demo's don't: of what did not change the
	// id stays, by which a cluster without a registry knows it.
	versioned bool
}

// files are the contents of an image by path, without leading slash.
type files map[string]file

// file is a regular file, a symbolic link, or a directory.
type file struct {
	mode   int64
	data   []byte
	target string // of a symbolic link
	dir    bool
}

func (f files) add(path string, mode int64, data []byte) { f[path] = file{mode: mode, data: data} }

func (f files) link(path, target string) { f[path] = file{mode: 0o777, target: target} }

func (f files) mkdir(path string, mode int64) { f[path] = file{mode: mode, dir: true} }

func (i *image) build() (v1.Image, error) {
	contents, err := i.files.archive()
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(contents)), nil },
		tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithCompressedCaching)
	if err != nil {
		return nil, fmt.Errorf("make layer: %w", err)
	}
	built, err := mutate.Append(empty.Image, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "github.com/dokkaa/dokkaa/images"},
	})
	if err != nil {
		return nil, fmt.Errorf("add layer: %w", err)
	}
	config, err := built.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("configure image: %w", err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", i.arch
	config.Created = v1.Time{Time: epoch}
	config.Config = i.config
	config.Config.Labels = map[string]string{
		"org.opencontainers.image.title":       i.repository,
		"org.opencontainers.image.description": i.title,
		"org.opencontainers.image.source":      "https://github.com/dokkaa/dokkaa",
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
	maps.Copy(config.Config.Labels, i.labels)
	if i.versioned {
		config.Config.Labels["org.opencontainers.image.version"] = i.release
	}
	return mutate.ConfigFile(built, config)
}

// archive is a tar of the files in a fixed order, each after the directories that it is in.
func (f files) archive() ([]byte, error) {
	all := maps.Clone(f)
	for name := range f {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, ok := all[dir]; !ok {
				all.mkdir(dir, 0o755)
			}
		}
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		file := all[name]
		header := &tar.Header{Name: name, Mode: file.mode, ModTime: epoch, Typeflag: tar.TypeReg, Size: int64(len(file.data))}
		switch {
		case file.dir:
			header.Typeflag, header.Name = tar.TypeDir, name+"/"
		case file.target != "":
			header.Typeflag, header.Linkname = tar.TypeSymlink, file.target
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
		if _, err := w.Write(file.data); err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack files: %w", err)
	}
	return out.Bytes(), nil
}
