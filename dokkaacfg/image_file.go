package dokkaacfg

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"
)

// imageFile is a file that "docker load" takes.
type imageFile struct {
	path string
	size int64
	tag  string   // for example dokkaa/conductor:latest
	tags []string // that one, and that of the release
	id   string   // as an engine shows it, unless it keeps images as containerd does

	layers           []string            // what an engine knows them by, unpacked
	settings         dockerclient.Config // of its containers
	config, manifest []byte              // of the archive
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

// archiveManifest is an archive's manifest.json.
type archiveManifest []struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func readImage(path string) (imageFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return imageFile{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return imageFile{}, err
	}
	image := imageFile{path: path, size: info.Size()}
	small := map[string][]byte{} // files, by name
	for archive := tar.NewReader(file); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return imageFile{}, err
		}
		if header.Size > maxImageConfig {
			continue // a layer
		}
		if small[header.Name], err = io.ReadAll(archive); err != nil {
			return imageFile{}, err
		}
	}
	if image.manifest = small["manifest.json"]; image.manifest == nil {
		return imageFile{}, errors.New("it has no manifest.json")
	}
	var manifest archiveManifest
	if err := json.Unmarshal(image.manifest, &manifest); err != nil {
		return imageFile{}, fmt.Errorf("manifest.json: %w", err)
	}
	for _, m := range manifest {
		image.id, image.config, image.tags = m.Config, small[m.Config], m.RepoTags
		for _, tag := range m.RepoTags {
			if strings.HasSuffix(tag, ":latest") {
				image.tag = tag
				return image, image.readConfig()
			}
		}
	}
	return imageFile{}, errors.New("it has no tag :latest")
}

// maxImageConfig is more than the description of an image takes, and less than a layer.
const maxImageConfig = 64 << 10

func (i *imageFile) readConfig() error {
	var config struct {
		Config dockerclient.Config `json:"config"`
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(i.config, &config); err != nil {
		return fmt.Errorf("%s: %w", i.id, err)
	}
	i.layers, i.settings = config.RootFS.DiffIDs, config.Config
	return nil
}

// withoutLayers is an archive that an engine takes which has all layers.
func (i imageFile) withoutLayers() []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, file := range []struct {
		name string
		data []byte
	}{{i.id, i.config}, {"manifest.json", i.manifest}} {
		header := &tar.Header{Name: file.name, Mode: 0o644, Size: int64(len(file.data)), ModTime: time.Unix(0, 0)}
		_ = w.WriteHeader(header) // a buffer takes everything
		_, _ = w.Write(file.data)
	}
	_ = w.Close()
	return out.Bytes()
}
