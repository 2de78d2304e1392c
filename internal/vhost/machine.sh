# Power and firmware of a machine: it starts systemd as the first process of a system of its own,
# and again when that reboots.
#
# Environment: NAME (of the machine), STATE (directory), TREES (lower directories of its root),
# NETNS (file), POWER and MACHINE (control groups, below each hierarchy's root).
set -eu

# Where there is version 1 of control groups there are several hierarchies, with version 2 one.
hierarchies() {
	if [ -e /sys/fs/cgroup/cgroup.procs ]; then
		echo /sys/fs/cgroup
	else
		ls -d /sys/fs/cgroup/*/
	fi
}

# enter puts this process into a control group, and makes the groups above it useful to those
# below: cpusets are empty at first, controllers of version 2 are not handed down.
enter() {
	for group in $(hierarchies); do
		for part in $(echo "$1" | tr / ' '); do
			if [ -w "$group/cgroup.subtree_control" ] && [ -e "$group/cgroup.controllers" ]; then
				for controller in $(cat "$group/cgroup.controllers"); do
					echo "+$controller" >"$group/cgroup.subtree_control" || true # not all can be
				done
			fi
			mkdir -p "$group/$part"
			if [ -e "$group/$part/cpuset.mems" ] && [ ! -s "$group/$part/cpuset.mems" ]; then
				cat "$group/cpuset.cpus" >"$group/$part/cpuset.cpus" || true
				cat "$group/cpuset.mems" >"$group/$part/cpuset.mems" || true
			fi
			group=$group/$part
		done
		echo 0 >"$group/cgroup.procs"
	done
}

# forget_network takes away what the system before had made in the network, as the end of its
# kernel would have done.
forget_network() {
	nsenter --net="$NETNS" nft flush ruleset
	for type in bridge dummy; do
		nsenter --net="$NETNS" ip -o link show type $type | while IFS=': ' read -r _ link _; do
			nsenter --net="$NETNS" ip link del "$link"
		done
	done
}

case $1 in
power)
	# From here on, all that the machine starts is found by its control group.
	enter "$POWER"
	while :; do
		ended=0
		nsenter --net="$NETNS" unshare --mount --uts --ipc --pid --fork --propagation private sh "$0" boot || ended=$?
		[ $ended = 129 ] || exit $ended # which is how a reboot of such a system ends
		forget_network
	done
	;;
boot)
	enter "$MACHINE"
	# Entered first: what a namespace of control groups shows as its root is where it was made.
	exec unshare --cgroup sh "$0" system
	;;
system)
	root=$STATE/root
	mount -t overlay overlay -o "lowerdir=$TREES,upperdir=$STATE/upper,workdir=$STATE/work" "$root"
	# An engine cannot put layers of its own on top of such a file system.
	for dir in docker containerd; do
		mkdir -p "$root/var/lib/$dir"
		mount --bind "$STATE/$dir" "$root/var/lib/$dir"
	done
	mount -t proc proc "$root/proc"
	mount -t sysfs sysfs "$root/sys"
	mount -t tmpfs -o mode=755 tmpfs "$root/run"
	mount -t tmpfs -o mode=755 tmpfs "$root/dev"
	for device in null zero full random urandom tty; do
		: >"$root/dev/$device"
		mount --bind /dev/$device "$root/dev/$device"
	done
	mkdir "$root/dev/pts" "$root/dev/shm"
	mount -t tmpfs tmpfs "$root/dev/shm"
	mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$root/dev/pts"
	ln -s pts/ptmx "$root/dev/ptmx"
	ln -s /proc/self/fd "$root/dev/fd"
	echo "$NAME" >/proc/sys/kernel/hostname
	cd "$root"
	pivot_root . mnt
	# systemd asks its environment whether it is in a container: there is no hardware to look after.
	exec env -i container=dokkaa PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -c 'umount -l /mnt; exec /sbin/init'
	;;
esac
