package e2e

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.yaml.in/yaml/v4"
	"golang.org/x/crypto/ssh"

	"github.com/dokkaa/dokkaa/internal/digitaloceantest"
	"github.com/dokkaa/dokkaa/internal/vhost"
	"github.com/dokkaa/dokkaa/internal/vhosttest"
)

// droplets are machines of a virtual network, for an account at DigitalOcean that is a test's own.
type droplets struct {
	*digitaloceantest.API
	net   *vhost.Cluster
	trees vhost.Trees
	key   string // file of the private key that the account's key is of

	mu       sync.Mutex             // one after the other: so it is with a cluster
	machines map[int]*vhost.Machine // by the droplet's id
	used     int                    // numbers of machines: none is used twice
	again    bool                   // but a new machine is to have the last one's number and address
}

func newDroplets(t *testing.T, name, subnet string) *droplets {
	t.Helper()
	vhosttest.Claim(t, name)
	trees, err := vhost.MakeTrees(t.Context(), filepath.Join(root, "build", "machines"))
	if err != nil {
		t.Fatal(err)
	}
	net, err := vhost.New(vhost.Options{Name: name, Dir: filepath.Join("/var/lib/dokkaa", name), Subnet: netip.MustParsePrefix(subnet)})
	if err != nil {
		t.Fatal(err)
	}
	d := &droplets{net: net, trees: trees, machines: map[int]*vhost.Machine{}}
	down := func() {
		if err := net.Down(context.Background()); err != nil {
			t.Error(err)
		}
	}
	down()
	t.Cleanup(down)
	d.API = digitaloceantest.New(t)
	d.SetMachines(d)
	public := ""
	d.key, public = newKey(t)
	d.AddKey("laptop", public)
	return d
}

// newKey makes an SSH key and returns the file of its private half, and its public half.
func newKey(t *testing.T) (file, public string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "id_ed25519")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(signer.PublicKey())))
}

// Make starts a machine for a droplet. It has one address, which is public and private.
func (d *droplets) Make(ctx context.Context, droplet digitaloceantest.Droplet) (public, private netip.Addr, err error) {
	var config struct {
		Files []struct{ Path, Content string } `yaml:"write_files"`
	}
	if err := yaml.Unmarshal([]byte(droplet.Order.UserData), &config); err != nil {
		return public, private, err
	}
	files := map[string]string{}
	for _, file := range config.Files {
		files[file.Path] = file.Content
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.again {
		d.used++
	}
	machine := d.net.Machine(d.used, d.trees)
	d.machines[droplet.ID] = machine
	err = machine.PowerOn(ctx, vhost.MachineOptions{Name: droplet.Name, AuthorizedKeys: droplet.Order.PublicKeys, Files: files, Engine: true})
	return machine.IP(), machine.IP(), err
}

// Destroy removes a droplet's machine.
func (d *droplets) Destroy(droplet digitaloceantest.Droplet) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.machines[droplet.ID].Destroy(context.Background())
}
