package dokkaacfg

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	dockerclient "github.com/fsouza/go-dockerclient"
)

// described is the image with another description, as that of the next release is whose program is the
// same.
func described(t *testing.T, image imageFile) imageFile {
	t.Helper()
	config := bytes.Replace(image.config, []byte(`image.version":"`), []byte(`image.version":"next-`), 1)
	sum := sha256.Sum256(config)
	id := "sha256:" + hex.EncodeToString(sum[:])
	manifest := bytes.ReplaceAll(image.manifest, []byte(image.id), []byte(id))
	if bytes.Equal(config, image.config) || bytes.Equal(manifest, image.manifest) {
		t.Fatalf("the description is %s", image.config)
	}
	from, err := os.Open(image.path)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	path := filepath.Join(t.TempDir(), "described.tar")
	to, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	w := tar.NewWriter(to)
	for archive := tar.NewReader(from); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		switch header.Name {
		case image.id:
			header.Name, data = id, config
		case "manifest.json":
			data = manifest
		}
		header.Size = int64(len(data))
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	changed, err := readImage(path)
	if err != nil || changed.id != id {
		t.Fatalf("it is %s, %v; want %s", changed.id, err, id)
	}
	return changed
}

// Images come onto a host by being sent, or from a registry.
func TestImagesOntoAHost(t *testing.T) {
	_, cluster := localCluster(t, "cfgload", "10.133.0.0/24")
	if err := cluster.Up(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	e, err := connect(t.Context(), cluster.Host(1), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	image, err := readImage(filepath.Join(builtImages, "dokkaa-gateway.tar"))
	if err != nil {
		t.Fatal(err)
	}
	testImagesAreSentOnce(t, e, image, described(t, image))
	testImagesArePulled(t, e, image, startDebianRegistry(t, cluster.Host(1), "10.133.0.1:5000", "ann", "hunter2"))
}

// An engine is sent an image once, and of one whose layers it has, the description.
func testImagesAreSentOnce(t *testing.T, e *engine, image, next imageFile) {
	for _, step := range []struct {
		what        string
		image       imageFile
		least, most int64
	}{
		{"first", image, image.size, image.size},
		{"again", image, 0, 0},
		{"with another description", next, 1, 16 << 10},
		{"that again", next, 0, 0},
		{"and back", image, 1, 16 << 10},
	} {
		var told int64
		sent, err := e.load(t.Context(), step.image, func(n, of int64) {
			if told = n; n > of {
				t.Errorf("%d of %d bytes are sent", n, of)
			}
		})
		if err != nil || sent < step.least || sent > step.most || sent == image.size && told != sent {
			t.Errorf("%s: %d bytes, told %d, %v", step.what, sent, told, err)
		}
		anywhere := step.image
		anywhere.id = "sha256:anotherStores"
		if has, _, err := e.hasImage(t.Context(), anywhere); !has || err != nil {
			t.Errorf("%s: not known by another id, %v", step.what, err)
		}
		if has, layers, err := e.hasImage(t.Context(), step.image); !has || !layers || err != nil {
			t.Errorf("%s: the engine has it %t, its layers %t, %v", step.what, has, layers, err)
		}
		t.Logf("%s: %d bytes", step.what, sent)
	}
	// Layers that the engine turns out not to have are sent after all.
	pretend := image
	pretend.id, pretend.settings, pretend.config = next.id, next.settings, []byte("{}")
	pretend.path, pretend.size = next.path, next.size
	if sent, err := e.load(t.Context(), pretend, func(int64, int64) {}); err != nil || sent != next.size {
		t.Errorf("after a description that is refused: %d bytes, %v", sent, err)
	}
}

// An image that a registry has is pulled as ours, if it is ours.
func testImagesArePulled(t *testing.T, e *engine, image imageFile, registry *debianRegistry) {
	config := t.TempDir()
	t.Setenv("DOCKER_CONFIG", config)
	login := base64.StdEncoding.EncodeToString([]byte("ann:hunter2"))
	if err := os.WriteFile(filepath.Join(config, "config.json"), []byte(`{"auths": {"`+registry.address+`": {"auth": "`+login+`"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := e.load(t.Context(), image, func(int64, int64) {}); err != nil {
		t.Fatal(err)
	}
	from := newImageRegistry(registry.address + "/shop/")
	repository, tag := from.name(image)
	name := repository + ":" + tag
	if repository != "10.133.0.1:5000/shop/gateway" || tag == "" || tag == "latest" || from.has(imageFile{tag: "dockerfile/nginx:latest"}) {
		t.Errorf("it is to be %s", name)
	}
	forget := func() {
		t.Helper()
		for _, own := range image.tags {
			if err := e.client.RemoveImageExtended(own, dockerclient.RemoveImageOptions{Context: t.Context()}); err != nil {
				t.Fatal(err)
			}
		}
	}
	registry.push(e, image.tag, "shop/gateway", tag, "hunter2")
	forget()
	for _, wanted := range []bool{true, false} {
		if did, err := e.pull(t.Context(), image, from); did != wanted || err != nil {
			t.Errorf("pulled: %t, %v; want %t", did, err, wanted)
		}
		if has, _, err := e.hasImage(t.Context(), image); !has || err != nil {
			t.Errorf("the engine does not have it: %v", err)
		}
		if _, err := e.imageID(t.Context(), name); !errors.Is(err, dockerclient.ErrNoSuchImage) {
			t.Errorf("the registry's name stays: %v", err)
		}
	}

	other, err := readImage(filepath.Join(builtImages, "dokkaa-skydns.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.load(t.Context(), other, func(int64, int64) {}); err != nil {
		t.Fatal(err)
	}
	registry.push(e, other.tag, "shop/gateway", tag, "hunter2")
	forget()
	if _, err := e.pull(t.Context(), image, from); err == nil || !strings.Contains(err.Error(), name+" is not the one of "+image.path) {
		t.Errorf("of another image it says %v", err)
	}
	if _, err := e.imageID(t.Context(), image.tag); !errors.Is(err, dockerclient.ErrNoSuchImage) {
		t.Errorf("another image has its name: %v", err)
	}
	from.auth.Password = "hunter1"
	if _, err := e.pull(t.Context(), image, from); err == nil || strings.Contains(err.Error(), "hunter") || !strings.Contains(err.Error(), "pull image "+name+": ") {
		t.Errorf("with a wrong password it says %v", err)
	}
}
