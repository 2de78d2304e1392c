// Images builds Dokkaa's container images, and those of the demo, without a Docker Engine and
// without a registry: as files that "docker load" takes.
//
//	go run ./images [--bin build/bin] [--out build/images] [--cache build/debian] [name ...]
//
// The daemons' images are a static binary each and little else. The demo's are made of Debian's
// packages, of which only the wanted programs and the libraries they need are taken. The same
// input gives the same image, to the byte.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/sync/errgroup"
)

type settings struct {
	Arch    string   `default:"${arch}" help:"Architecture: amd64 or arm64."`
	Bin     string   `default:"build/bin" help:"Directory of the static binaries."`
	Out     string   `default:"build/images" help:"Directory that the images are written to."`
	Cache   string   `default:"build/debian" help:"Directory that Debian's packages are kept in."`
	Release string   `default:"devel" help:"Version: the images' second tag, beside latest."`
	Names   []string `arg:"" optional:"" help:"Images to build, for example conductor or nginx; default all."`
}

func main() {
	var s settings
	kong.Parse(&s, kong.Name("images"), kong.Description("Build Dokkaa's container images."), kong.Vars{"arch": defaultArch})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := build(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

// build writes all images that s names.
func build(ctx context.Context, s settings) error {
	if err := os.MkdirAll(s.Out, 0o755); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	names := s.Names
	if len(names) == 0 {
		names = slices.Concat(daemonNames(), demoNames)
	}
	if slices.ContainsFunc(names, isDemo) {
		if err := fetchDebian(ctx, s.debian()); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2) // each holds an image in memory
	for _, name := range names {
		group.Go(func() error { return buildOne(ctx, s, name) })
	}
	return group.Wait()
}

func buildOne(ctx context.Context, s settings, name string) error {
	start := time.Now()
	image, err := describe(s, name)
	if err != nil {
		return fmt.Errorf("build image %s: %w", name, err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	image.arch = s.Arch
	image.release = s.Release
	file := filepath.Join(s.Out, strings.ReplaceAll(image.repository, "/", "-")+".tar")
	if err := image.write(file); err != nil {
		return fmt.Errorf("build image %s: %w", name, err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("build image %s: %w", name, err)
	}
	fmt.Printf("  %-22s %5.1f MB  %s  (%.1fs)\n", image.repository, float64(info.Size())/1e6, file, time.Since(start).Seconds())
	return nil
}

func describe(s settings, name string) (*image, error) {
	if isDemo(name) {
		return demoImage(s.debian(), name)
	}
	image, err := daemonImage(s.Bin, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w (make build makes the binaries)", err)
	}
	return image, err
}

// debian is where the packages of the architecture are.
func (s settings) debian() debian { return debian{arch: s.Arch, dir: filepath.Join(s.Cache, s.Arch)} }
