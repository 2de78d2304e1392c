// Package provision makes a machine with Debian, Ubuntu or the like into a host on which our daemons
// can run, and takes away again what it brought. It says what commands run there; how they get
// there is the host's business.
//
// Each step looks first: done again it changes nothing, and after it broke off, wherever that was,
// it goes on.
package provision

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
)

// Host is where the steps are done.
type Host interface {
	// Run runs a shell script as root, with in as its input, and returns what it wrote.
	Run(ctx context.Context, script string, in io.Reader) (string, error)
}

// Wanted is what a host is to be.
type Wanted struct {
	Self      netip.Addr     // by which the cluster's other hosts reach it
	Hosts     []netip.Addr   // all of the cluster, itself too
	OpenKeys  []netip.Prefix // from where the keys can be reached, beside the hosts
	SecretKey []byte         // that the cluster's secrets are encrypted with
}

// SecretKeyFile is where the cluster's key is on the host.
const SecretKeyFile = "/etc/dokkaa/secret.key"

// dir is where all is that we keep on the host, beside Docker and systemd.
const dir = "/etc/dokkaa"

var (
	//go:embed packages.sh
	packagesScript string
	//go:embed clear.sh
	clearScript string
)

// Prepare does all the steps, tells of each when it begins, and of those that changed something what
// they did. When it returns nil, the cluster's ports are closed to the world, and a Docker Engine
// answers.
func Prepare(ctx context.Context, host Host, facts Facts, wanted Wanted, doing, did func(string)) error {
	if err := facts.suitable(wanted.Self); err != nil {
		return err
	}
	for _, step := range []struct {
		what string
		do   func(context.Context, Host, Facts, Wanted) (string, error)
	}{{"looks for packages", installPackages}, {"closes ports", closePorts}, {"looks after Docker Engine", configureEngine}, {"keeps the cluster's key", keepSecretKey}} {
		doing(step.what)
		what, err := step.do(ctx, host, facts, wanted)
		if err != nil {
			return err
		}
		if what != "" {
			did(what)
		}
	}
	return nil
}

// Clear takes away what Prepare brought, but for packages: somebody may have come to need them. The
// containers, volumes and images must be gone before.
func Clear(ctx context.Context, host Host) error {
	if err := restoreEngine(ctx, host); err != nil {
		return err
	}
	_, err := host.Run(ctx, clearScript, nil)
	return err
}

// Facts are what there is to know about a host before it is touched.
type Facts struct {
	Addresses []netip.Addr // IPv4, without those that only the host itself has
	Default   netip.Addr   // of these, the one on its way to the world
	Missing   []string     // programs, and packages whose installation broke off
	Apt       bool
	Systemd   bool
}

const inspectScript = `
ip -4 -o address show scope global | while read -r _ link _ address _; do
	case $link in docker*|br-*|veth*|dokkaa*) ;; *) echo "address ${address%/*}" ;; esac
done
ip -4 route get 192.0.2.1 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/default \1/p'
for program in dockerd docker nft; do
	command -v $program >/dev/null || [ -x /usr/sbin/$program ] || echo "missing $program"
done
for package in docker.io nftables; do
	state=$(dpkg-query --show --showformat '${db:Status-Status}' $package 2>/dev/null) || continue
	case $state in installed | not-installed | config-files) ;; *) echo "missing $package" ;; esac # cut off
done
command -v apt-get >/dev/null && echo apt
[ -d /run/systemd/system ] && echo systemd
true
`

// Inspect looks at a host.
func Inspect(ctx context.Context, host Host) (Facts, error) {
	out, err := host.Run(ctx, inspectScript, nil)
	if err != nil {
		return Facts{}, fmt.Errorf("inspect host: %w", err)
	}
	var facts Facts
	for line := range strings.Lines(out) {
		what, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch what {
		case "address", "default":
			address, err := netip.ParseAddr(value)
			if err != nil {
				return Facts{}, fmt.Errorf("inspect host: %w", err)
			}
			if what == "default" {
				facts.Default = address
			} else {
				facts.Addresses = append(facts.Addresses, address)
			}
		case "missing":
			facts.Missing = append(facts.Missing, value)
		case "apt":
			facts.Apt = true
		case "systemd":
			facts.Systemd = true
		}
	}
	return facts, nil
}

// HasEngine tells whether the host has a Docker Engine.
func (f Facts) HasEngine() bool { return !slices.Contains(f.Missing, "dockerd") }

// suitable says what keeps the host from becoming one of ours.
func (f Facts) suitable(self netip.Addr) error {
	switch {
	case !f.Systemd:
		return errors.New("it is not run by systemd, which starts Docker and the firewall again after a reboot")
	case !slices.Contains(f.Addresses, self):
		return fmt.Errorf("it does not have the address %s, by which the others are to reach it; it has %s", self, listed(f.Addresses))
	case len(f.Missing) > 0 && !f.Apt:
		return fmt.Errorf("it lacks %s, and has no apt-get to install them with: install Docker Engine and nftables, then try again", strings.Join(f.Missing, ", "))
	}
	return nil
}

func listed(addresses []netip.Addr) string {
	var all []string
	for _, address := range addresses {
		all = append(all, address.String())
	}
	return strings.Join(all, ", ")
}

// installPackages installs what is missing from the distribution. Docker's own packages, where they
// are, are left as they are.
func installPackages(ctx context.Context, host Host, facts Facts, _ Wanted) (string, error) {
	if len(facts.Missing) == 0 {
		return "", nil
	}
	out, err := host.Run(ctx, packagesScript, nil)
	if err != nil {
		return "", fmt.Errorf("install packages: %w", err)
	}
	return "installed " + strings.TrimSpace(lastLine(out)), nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// keepSecretKey writes the cluster's key, for the conductor alone.
func keepSecretKey(ctx context.Context, host Host, _ Facts, wanted Wanted) (string, error) {
	did, err := writeFile(ctx, host, SecretKeyFile, "600", string(wanted.SecretKey))
	if err != nil || !did {
		return "", err
	}
	return "has the cluster's key", nil
}

// writeFile writes a file, whole or not at all, unless it has the content, and tells whether it did. To
// the host a connection that breaks off looks like the content's end: it counts what came.
func writeFile(ctx context.Context, host Host, path, mode, content string) (did bool, err error) {
	script := fmt.Sprintf(`
umask 077
mkdir -p "$(dirname %[1]s)"
[ "$(dirname %[1]s)" != %[3]s ] || chmod 711 %[3]s
cat >%[1]s.new
if [ "$(wc -c <%[1]s.new)" -ne %[4]d ]; then
	rm %[1]s.new
	echo "the connection broke off" >&2
	exit 1
fi
if cmp -s %[1]s.new %[1]s; then rm %[1]s.new; exit 0; fi
chmod %[2]s %[1]s.new
sync %[1]s.new
mv %[1]s.new %[1]s
echo written
`, path, mode, dir, len(content))
	out, err := host.Run(ctx, script, strings.NewReader(content))
	if err != nil {
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	return strings.Contains(out, "written"), nil
}
