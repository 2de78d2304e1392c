//go:build linux

package vhost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const treeTimeout = 10 * time.Minute // it comes from Debian's servers

// Trees are the file systems that machines start from. They are shared, and only read.
type Trees struct{ dir string }

// MakeTrees makes the trees in a directory, which takes a minute or so and needs mmdebstrap and
// Debian's servers. What is there is used. Several processes may call it at once.
func MakeTrees(ctx context.Context, dir string) (Trees, error) {
	ctx, cancel := context.WithTimeout(ctx, treeTimeout)
	defer cancel()
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Trees{}, fmt.Errorf("make trees: %w", err)
	}
	t := Trees{dir: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return t, fmt.Errorf("make trees: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return t, fmt.Errorf("make trees: %w", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return t, fmt.Errorf("lock trees: %w", err)
	}
	for _, wanted := range []struct{ tree, script string }{{t.bare(), makeBare}, {t.engine(), makeEngine}} {
		if _, err := os.Stat(wanted.tree); !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return t, fmt.Errorf("look for tree: %w", err)
			}
			continue
		}
		cmd := exec.CommandContext(ctx, "unshare", "--mount", "sh", "-euc", wanted.script)
		cmd.Env = append(os.Environ(), "TREE="+wanted.tree, "BARE="+t.bare(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return t, fmt.Errorf("make tree %s: %w: %s", wanted.tree, err, out)
		}
	}
	return t, nil
}

// bare is a small Debian with systemd and sshd.
func (t Trees) bare() string { return filepath.Join(t.dir, "bare") }

// engine is what Debian's Docker Engine adds to it.
func (t Trees) engine() string { return filepath.Join(t.dir, "engine") }

// makeBare makes the bare tree. Machines must not share host keys, nor an identity.
const makeBare = `
rm -rf "$TREE.new"
mmdebstrap --quiet --variant=minbase \
	--include=systemd,systemd-sysv,dbus,openssh-server,sudo,iproute2,nftables,iptables,procps,ca-certificates \
	bookworm "$TREE.new" 'deb http://deb.debian.org/debian bookworm main'
rm -f "$TREE.new"/etc/ssh/ssh_host_*
: >"$TREE.new/etc/machine-id"
mv "$TREE.new" "$TREE"
`

// makeEngine installs the engine on top of the bare tree, and keeps the difference.
const makeEngine = `
rm -rf "$TREE.new" "$TREE.work" "$TREE.root"
mkdir "$TREE.new" "$TREE.work" "$TREE.root"
mount -t overlay overlay -o "lowerdir=$BARE,upperdir=$TREE.new,workdir=$TREE.work" "$TREE.root"
cat /etc/resolv.conf >"$TREE.root/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' >"$TREE.root/usr/sbin/policy-rc.d"
chmod +x "$TREE.root/usr/sbin/policy-rc.d"
mount -t proc proc "$TREE.root/proc"
chroot "$TREE.root" apt-get update -q
chroot "$TREE.root" apt-get install -qy --no-install-recommends docker.io
chroot "$TREE.root" apt-get clean
rm -rf "$TREE.root"/var/lib/apt/lists/* "$TREE.root/usr/sbin/policy-rc.d" "$TREE.root/etc/resolv.conf"
umount "$TREE.root/proc" "$TREE.root"
rm -rf "$TREE.work" "$TREE.root"
mv "$TREE.new" "$TREE"
`
