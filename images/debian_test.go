package main

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMerged(t *testing.T) {
	for name, want := range map[string]string{
		"./bin/bash":       "usr/bin/bash",
		"./usr/bin/curl":   "usr/bin/curl",
		"/lib64/ld.so":     "usr/lib64/ld.so",
		"./etc/passwd":     "etc/passwd",
		"../../etc/shadow": "etc/shadow",
		"./binary":         "binary",
	} {
		if got := merged(name); got != want {
			t.Errorf("merged(%q) = %q, want %q", name, got, want)
		}
	}
}

// A package can write only below the tree.
func TestUnpackStaysInTheTree(t *testing.T) {
	outside, tree := t.TempDir(), t.TempDir()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, header := range []*tar.Header{
		{Name: "./bin/tool", Typeflag: tar.TypeReg, Mode: 0o755, Size: 1},
		{Name: "./usr/bin/alias", Typeflag: tar.TypeSymlink, Linkname: "tool"},
		{Name: "./dev/null", Typeflag: tar.TypeChar},
		{Name: "./way", Typeflag: tar.TypeSymlink, Linkname: outside},
		{Name: "./way/out", Typeflag: tar.TypeReg, Mode: 0o644, Size: 1},
	} {
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, header.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := unpackTar(&archive, tree); err == nil {
		t.Error("a file beyond a link that leads out was written")
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("outside there is %v, %v", left, err)
	}
	if data, err := os.ReadFile(filepath.Join(tree, "usr/bin/alias")); err != nil || len(data) != 1 {
		t.Errorf("the tool is %q, %v", data, err)
	}
	if _, err := os.Lstat(filepath.Join(tree, "dev/null")); err == nil {
		t.Error("a device was made")
	}
}

// An image with a program that lacks a library is not built: it would fail only when it is run.
func TestAMissingLibraryIsNamed(t *testing.T) {
	d := debian{dir: t.TempDir()}
	if err := os.MkdirAll(filepath.Join(d.tree(), "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	shell, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.tree(), "usr/bin/sh"), shell, 0o755); err != nil {
		t.Fatal(err)
	}
	err = d.addPrograms(files{}, "usr/bin/sh")
	if err == nil || !strings.Contains(err.Error(), "usr/bin/sh needs a library: no package has libc.so") {
		t.Errorf("addPrograms says %v", err)
	}
	if err := d.addPrograms(files{}, "usr/bin/none"); err == nil {
		t.Error("a program that no package has was added")
	}
}
