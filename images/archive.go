package main

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// archiveEntry is what manifest.json says of an image in a file for "docker load".
type archiveEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// write writes the image as a file for "docker load", whole or not at all. go-containerregistry
// can do that too, but puts the tags in another order each time.
func (i *image) write(to string) error {
	built, err := i.build()
	if err != nil {
		return err
	}
	temp := to + ".new"
	file, err := os.Create(temp)
	if err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	defer file.Close() // for the ways out by an error; closing twice does no harm
	w := tar.NewWriter(file)
	if err := writeArchive(w, built, []string{i.repository + ":latest", i.repository + ":" + i.release}); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	if err := os.Rename(temp, to); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	return nil
}

func writeArchive(w *tar.Writer, built v1.Image, tags []string) error {
	config, err := built.RawConfigFile()
	if err != nil {
		return err
	}
	id, err := built.ConfigName()
	if err != nil {
		return err
	}
	entry := archiveEntry{Config: id.String(), RepoTags: tags}
	if err := writeEntry(w, entry.Config, config); err != nil {
		return err
	}
	layers, err := built.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		digest, err := layer.Digest()
		if err != nil {
			return err
		}
		data, err := compressed(layer)
		if err != nil {
			return err
		}
		name := digest.Hex + ".tar.gz"
		if err := writeEntry(w, name, data); err != nil {
			return err
		}
		entry.Layers = append(entry.Layers, name)
	}
	manifest, err := json.Marshal([]archiveEntry{entry})
	if err != nil {
		return err
	}
	return writeEntry(w, "manifest.json", manifest)
}

func compressed(layer v1.Layer) ([]byte, error) {
	r, err := layer.Compressed()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func writeEntry(w *tar.Writer, name string, data []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, ModTime: epoch, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}
