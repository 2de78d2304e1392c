package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const defaultArch = runtime.GOARCH

// certificates are the machine's trust anchors; without them a daemon cannot speak TLS to others.
const certificates = "/etc/ssl/certs/ca-certificates.crt"

// daemons are the programs that have an image of their own, dokkaa/<name>.
var daemons = map[string]string{
	"ambassador": "Connects containers to the services that they are linked to.",
	"conductor":  "Runs a host's share of the cluster's containers.",
	"etcd":       "The cluster's memory: etcd with the v2 keys API.",
	"gateway":    "The door to the cluster's keys on every host.",
	"skydns":     "Nameserver of the cluster's services.",
}

func daemonNames() []string { return slices.Sorted(maps.Keys(daemons)) }

// daemonImage is a static binary as its image's only program.
func daemonImage(bin, name string) (*image, error) {
	title, ok := daemons[name]
	if !ok {
		return nil, fmt.Errorf("there is no such image; there are %v and %v", daemonNames(), demoNames)
	}
	binary := filepath.Join(bin, name)
	if err := requireStatic(binary); err != nil {
		return nil, err
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("read binary: %w", err)
	}
	contents := files{}
	contents.add(name, 0o755, program)
	if err := addCertificates(contents); err != nil {
		return nil, err
	}
	image := &image{
		repository: "dokkaa/" + name,
		// What etcd's image has in it changes seldom, and its members are not replaced for a label.
		versioned: name != "etcd",
		title:     title,
		files:     contents,
		config: v1.Config{
			Entrypoint: []string{"/" + name},
			// The program's own question; it knows where the daemon listens.
			Healthcheck: &v1.HealthConfig{
				Test:     []string{"CMD", "/" + name, "--healthcheck"},
				Interval: 10 * time.Second,
				Timeout:  5 * time.Second,
				Retries:  3,
			},
		},
	}
	if slices.Contains([]string{"ambassador", "gateway", "skydns"}, name) {
		// It hands its open sockets over to one that is started beside it: dokkaacfg looks for this.
		image.labels = map[string]string{"dokkaa.handover": "sockets"}
	}
	if name == "gateway" {
		// Who only passes requests on has little to keep: half the memory for hardly any time.
		image.config.Env = []string{"GOGC=50"}
	}
	if name == "skydns" {
		// SkyDNS keeps nothing unless it is told to, which suits who replaces it, but no cluster.
		image.config.Env = []string{"SKYDNS_CACHE=10000"}
	}
	if name == "etcd" {
		contents.mkdir("var/lib/etcd", 0o700)
		image.config.Volumes = map[string]struct{}{"/var/lib/etcd": {}}
	}
	return image, nil
}

// requireStatic refuses a binary that would need a loader, which the image does not have.
func requireStatic(binary string) error {
	program, err := elf.Open(binary)
	if err != nil {
		return fmt.Errorf("read binary: %w", err)
	}
	defer program.Close()
	if program.Section(".interp") != nil {
		return fmt.Errorf("%s is linked dynamically; build it with CGO_ENABLED=0", binary)
	}
	return nil
}

func addCertificates(contents files) error {
	data, err := os.ReadFile(certificates)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read certificates: %w", err)
	}
	contents.add(certificates[1:], 0o644, data)
	return nil
}
