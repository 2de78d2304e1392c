package dokkaacfg

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// imageFile is a file that "docker load" takes.
type imageFile struct {
	path string
	tag  string // for example dokkaa/conductor:latest
	id   string // as an engine shows it
}

// readImages finds the images in a directory and checks that all our daemons have theirs.
func readImages(dir string) ([]imageFile, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.tar"))
	if err != nil {
		return nil, fmt.Errorf("find images: %w", err)
	}
	var images []imageFile
	have := map[string]bool{}
	for _, path := range paths {
		image, err := readImage(path)
		if err != nil {
			return nil, fmt.Errorf("read image %s: %w", path, err)
		}
		images = append(images, image)
		have[image.tag] = true
	}
	for _, name := range daemonNames {
		if tag := (daemonSpec{name: name}).image(); !have[tag] {
			return nil, fmt.Errorf("no image %s in %s: make images builds it, --images says where they are", tag, dir)
		}
	}
	return images, nil
}

func readImage(path string) (imageFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return imageFile{}, err
	}
	defer file.Close()
	for archive := tar.NewReader(file); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return imageFile{}, errors.New("it has no manifest.json")
		}
		if err != nil {
			return imageFile{}, err
		}
		if header.Name != "manifest.json" {
			continue
		}
		var manifest []struct {
			Config   string
			RepoTags []string
		}
		if err := json.NewDecoder(archive).Decode(&manifest); err != nil {
			return imageFile{}, fmt.Errorf("manifest.json: %w", err)
		}
		for _, m := range manifest {
			for _, tag := range m.RepoTags {
				if strings.HasSuffix(tag, ":latest") {
					return imageFile{path: path, tag: tag, id: m.Config}, nil
				}
			}
		}
		return imageFile{}, errors.New("it has no tag :latest")
	}
}
