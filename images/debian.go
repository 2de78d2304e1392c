package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// packages are what the demo's images are made of; apt adds what these depend on.
var packages = []string{"bash", "busybox-static", "curl", "nginx"}

const (
	aptTimeout = 10 * time.Minute
	// debianImage has apt where the machine has not.
	debianImage = "docker.io/library/debian:12"
	// stampVersion changes when fetched trees of older versions of this program are no good.
	stampVersion = "1"
)

// debian is a directory with Debian packages unpacked side by side. Nothing of it is installed,
// root is not needed, and the machine's own packages are not looked at.
type debian struct {
	arch string
	dir  string
}

func (d debian) tree() string { return filepath.Join(d.dir, "tree") }

// fetchDebian downloads and unpacks the packages, unless that has been done.
func fetchDebian(ctx context.Context, d debian) error {
	stamp := filepath.Join(d.dir, "done")
	want := stampVersion + " " + strings.Join(packages, " ")
	if done, err := os.ReadFile(stamp); err == nil && string(done) == want {
		return nil
	}
	if !onDebian() {
		if _, err := exec.LookPath("docker"); err != nil {
			return fmt.Errorf("the demo's images are made of Debian packages, which takes apt-get and dpkg-deb, or docker to run them in %s: %w", debianImage, err)
		}
		fmt.Printf("  there is no apt-get here: using the image %s\n", debianImage)
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return fmt.Errorf("clear package cache: %w", err)
	}
	archives, err := d.download(ctx)
	if err != nil {
		return err
	}
	for _, archive := range archives {
		if err := d.unpack(ctx, archive); err != nil {
			return err
		}
	}
	fmt.Printf("  %d Debian packages unpacked in %s\n", len(archives), d.dir)
	if err := os.WriteFile(stamp, []byte(want), 0o644); err != nil {
		return fmt.Errorf("mark package cache: %w", err)
	}
	return nil
}

// download has apt resolve and fetch the packages from the machine's own sources, checking
// their signatures, as if on a system on which nothing is installed yet.
func (d debian) download(ctx context.Context) ([]string, error) {
	dir, err := filepath.Abs(d.dir)
	if err != nil {
		return nil, fmt.Errorf("find package cache: %w", err)
	}
	for _, sub := range []string{"state/lists/partial", "cache/archives/partial", "tree"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("make package cache: %w", err)
		}
	}
	config := fmt.Sprintf(`Dir::State %q;
Dir::State::status %q;
Dir::Cache %q;
APT::Architecture %q;
APT::Architectures { %q; };
APT::Install-Recommends "false";
APT::Keep-Downloaded-Packages "true";
APT::Sandbox::User "root";
`, dir+"/state", dir+"/status", dir+"/cache", d.arch, d.arch)
	for name, data := range map[string]string{"apt.conf": config, "status": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			return nil, fmt.Errorf("configure apt: %w", err)
		}
	}
	fmt.Printf("  fetching Debian's %s\n", strings.Join(packages, ", "))
	for _, args := range [][]string{{"update"}, append([]string{"install", "--yes", "--download-only"}, packages...)} {
		if err := d.apt(ctx, dir, args...); err != nil {
			return nil, err
		}
	}
	archives, err := filepath.Glob(filepath.Join(dir, "cache/archives/*.deb"))
	if err == nil && len(archives) == 0 {
		err = errors.New("apt fetched nothing")
	}
	return archives, err
}

func (d debian) apt(ctx context.Context, dir string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, aptTimeout)
	defer cancel()
	out, err := command(ctx, dir, append([]string{"apt-get", "--quiet"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

func onDebian() bool {
	for _, tool := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return false
		}
	}
	return true
}

// command is a command of Debian's that works in dir: run here, or elsewhere in a container.
func command(ctx context.Context, dir string, words ...string) *exec.Cmd {
	env := []string{"APT_CONFIG=" + filepath.Join(dir, "apt.conf"), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}
	if onDebian() {
		cmd := exec.CommandContext(ctx, words[0], words[1:]...)
		cmd.Env = append(os.Environ(), env...)
		return cmd
	}
	args := []string{"run", "--rm", "--volume", dir + ":" + dir, "--user", fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid())}
	for _, setting := range env {
		args = append(args, "--env", setting)
	}
	return exec.CommandContext(ctx, "docker", append(append(args, debianImage), words...)...)
}

// unpack adds a package's files to the tree.
func (d debian) unpack(ctx context.Context, archive string) error {
	cmd := command(ctx, filepath.Dir(archive), "dpkg-deb", "--fsys-tarfile", archive)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("unpack %s: %w", archive, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("unpack %s: %w", archive, err)
	}
	unpackErr := unpackTar(out, d.tree())
	// Also after an error: the program must be able to end.
	_, drainErr := io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("unpack %s: %w: %s", archive, err, stderr.String())
	}
	if err := errors.Join(unpackErr, drainErr); err != nil {
		return fmt.Errorf("unpack %s: %w", archive, err)
	}
	return nil
}

// unpackTar writes the regular files and symbolic links of a package below tree. Packages may
// have /bin or /usr/bin, which are one directory on a system: here it is always the latter.
func unpackTar(r io.Reader, tree string) error {
	root, err := os.OpenRoot(tree) // nothing is written outside, whatever the names are
	if err != nil {
		return err
	}
	defer root.Close()
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := merged(header.Name)
		if header.Typeflag != tar.TypeReg && header.Typeflag != tar.TypeSymlink {
			continue
		}
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		if header.Typeflag == tar.TypeSymlink {
			if err := root.Symlink(header.Linkname, name); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			continue
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			return err
		}
		if err := root.WriteFile(name, data, header.FileInfo().Mode().Perm()|0o600); err != nil {
			return err
		}
	}
}

// merged is the path, without leading slash, that a file has where /bin, /lib and so on are
// links to their counterparts in /usr.
func merged(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	for _, dir := range mergedDirs {
		if strings.HasPrefix(name, dir+"/") {
			return "usr/" + name
		}
	}
	return name
}

var mergedDirs = []string{"bin", "sbin", "lib", "lib64"}
