package dokkaacfg

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

const installTimeout = 15 * time.Minute

// program is something that must be on the machine, and the Debian package that has it.
type program struct{ name, pkg string }

var virtualHostPrograms = []program{
	{"dockerd", "docker.io"},
	{"containerd", "containerd"},
	{"ip", "iproute2"},
	{"iptables", "iptables"},
	{"nft", "nftables"},
	{"nsenter", "util-linux"},
	{"setsid", "util-linux"},
}

var curlProgram = program{"curl", "curl"}

// installPrograms makes sure that the programs are there: on Debian and its like, as root, it
// installs what is missing, and tells so.
func installPrograms(ctx context.Context, p *progress, programs []program) error {
	names, packages := missing(programs)
	if len(names) == 0 {
		return nil
	}
	command := "apt-get install --yes --no-install-recommends " + strings.Join(packages, " ")
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("this machine lacks %s; install them (on Debian, as root: %s)", strings.Join(names, ", "), command)
	}
	p.say("this machine lacks %s; installing: %s", strings.Join(names, ", "), command)
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	for _, line := range []string{"apt-get update", command} {
		words := strings.Fields(line)
		cmd := exec.CommandContext(ctx, words[0], words[1:]...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", line, err, out)
		}
	}
	if names, _ := missing(programs); len(names) > 0 {
		return fmt.Errorf("%s are still missing after: %s", strings.Join(names, ", "), command)
	}
	p.done("installed %s", strings.Join(packages, ", "))
	return nil
}

// missing are the programs that are not on the machine, and the packages that have them.
func missing(programs []program) (names, packages []string) {
	for _, wanted := range programs {
		if _, err := exec.LookPath(wanted.name); err == nil {
			continue
		}
		names = append(names, wanted.name)
		if !slices.Contains(packages, wanted.pkg) {
			packages = append(packages, wanted.pkg)
		}
	}
	return names, packages
}
