package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// names are the entries of a tar, in order; directories end with a slash.
func names(t *testing.T, r io.Reader) []string {
	t.Helper()
	var all []string
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if !header.ModTime.Equal(epoch) {
			t.Errorf("%s has time %s", header.Name, header.ModTime)
		}
		all = append(all, header.Name)
	}
}

func TestArchiveHasDirectoriesFirst(t *testing.T) {
	contents := files{}
	contents.add("usr/bin/x", 0o755, []byte("x"))
	contents.link("bin", "usr/bin")
	contents.mkdir("tmp", 0o1777)
	data, err := contents.archive()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"bin", "tmp/", "usr/", "usr/bin/", "usr/bin/x"}
	if got := names(t, bytes.NewReader(data)); !slices.Equal(got, want) {
		t.Errorf("archive has %q, want %q", got, want)
	}
	if len(contents) != 3 {
		t.Errorf("archive changed the files: %v", contents)
	}
}

// staticBinary builds a program that could be a daemon.
func staticBinary(t *testing.T, to string) {
	t.Helper()
	source := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", to, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestDaemonImage(t *testing.T) {
	bin, out := t.TempDir(), t.TempDir()
	staticBinary(t, filepath.Join(bin, "etcd"))
	s := settings{Arch: "arm64", Bin: bin, Out: out, Release: "v1.2.3", Names: []string{"etcd"}}
	if err := build(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(out, "dokkaa-etcd.tar")
	first, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"dokkaa/etcd:latest", "dokkaa/etcd:v1.2.3"} {
		checkDaemonConfig(t, file, tag)
	}
	if err := build(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(file); err != nil || !bytes.Equal(first, second) {
		t.Errorf("built twice it differs (%v)", err)
	}
	if left, err := os.ReadDir(out); err != nil || len(left) != 1 {
		t.Errorf("output directory has %v, %v", left, err)
	}
}

// The image of etcd is the same in many releases: nothing in it says of which it is.
func TestVersionLabel(t *testing.T) {
	bin, out := t.TempDir(), t.TempDir()
	staticBinary(t, filepath.Join(bin, "etcd"))
	staticBinary(t, filepath.Join(bin, "skydns"))
	if err := build(t.Context(), settings{Arch: "amd64", Bin: bin, Out: out, Release: "v1.2.3", Names: []string{"etcd", "skydns"}}); err != nil {
		t.Fatal(err)
	}
	for daemon, want := range map[string]string{"etcd": "", "skydns": "v1.2.3"} {
		tag, err := name.NewTag("dokkaa/" + daemon + ":latest")
		if err != nil {
			t.Fatal(err)
		}
		image, err := tarball.ImageFromPath(filepath.Join(out, "dokkaa-"+daemon+".tar"), &tag)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if got := config.Config.Labels["org.opencontainers.image.version"]; got != want {
			t.Errorf("%s: version label %q, want %q", daemon, got, want)
		}
	}
}

func checkDaemonConfig(t *testing.T, file, tagName string) {
	t.Helper()
	tag, err := name.NewTag(tagName)
	if err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(file, &tag)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" || config.Architecture != "arm64" {
		t.Errorf("it is for %s/%s", config.OS, config.Architecture)
	}
	if got := strings.Join(config.Config.Entrypoint, " "); got != "/etcd" {
		t.Errorf("entrypoint %q", got)
	}
	if check := config.Config.Healthcheck; check == nil || strings.Join(check.Test, " ") != "CMD /etcd --healthcheck" {
		t.Errorf("health check %v", check)
	}
	if _, ok := config.Config.Volumes["/var/lib/etcd"]; !ok {
		t.Error("it has no volume for its data")
	}
	if got := layerNames(t, image); !slices.Contains(got, "etcd") || !slices.Contains(got, "var/lib/etcd/") {
		t.Errorf("it contains %q", got)
	}
}

func layerNames(t *testing.T, image v1.Image) []string {
	t.Helper()
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("layers %v, %v", layers, err)
	}
	contents, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer contents.Close()
	return names(t, contents)
}

func TestDaemonImageIsRefused(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "gateway"), []byte("#!/bin/sh\necho this is not what the image can run\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	shell, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "skydns"), shell, 0o755); err != nil {
		t.Fatal(err)
	}
	for image, says := range map[string]string{
		"conductor": "make build",         // not built
		"gateway":   "bad magic number",   // no program
		"skydns":    "linked dynamically", // it would not start
		"postgres":  "there is no such image",
	} {
		err := build(t.Context(), settings{Bin: bin, Out: t.TempDir(), Names: []string{image}})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("image %s: %v, want %q in it", image, err, says)
		}
	}
}
