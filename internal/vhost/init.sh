# The first process of a virtual host. It plays the part that systemd has on a real one: it owns
# the socket of the Docker Engine, as file descriptor 3, and starts the engine again when it
# ended, unless the file docker.off says not to. So the socket that containers have mounted
# outlives the engine.
#
# Environment: HOST (name), STATE (directory), NETNS and CGROUP_PROCS (files).
# Arguments: "boot", and the engine's command line.
set -eu

case $1 in
boot)
	shift
	# From here on, everything that the host starts is found by its control group.
	echo $$ >"$CGROUP_PROCS"
	# Not "ip netns exec": it puts another /sys in place, and the limits of containers are lost.
	exec nsenter --net="$NETNS" unshare --mount --uts --propagation private sh "$0" run "$@"
	;;
run)
	shift
	echo "$HOST" >/proc/sys/kernel/hostname
	# Nameservers were written by the machine's side: its own may be a file below /run, or name
	# an address that only the machine reaches.
	resolv=$(readlink -f /etc/resolv.conf || echo /etc/resolv.conf)
	mount -t tmpfs -o mode=755,size=256m tmpfs /run
	mkdir -p /run/lock "$(dirname "$resolv")"
	[ -e "$resolv" ] || : >"$resolv"
	mount --bind "$STATE/resolv.conf" "$resolv"
	: >/run/docker.sock
	mount --bind "$STATE/docker.sock" /run/docker.sock
	;;
esac

# An engine that was killed takes its containerd with it, but takes it for alive until the
# machine's first process has reaped it, and waits for it in vain.
forget_dead_containerd() {
	pidfile=/run/docker/containerd/containerd.pid
	if [ -e $pidfile ] && grep -qs '^State:.Z' "/proc/$(cat $pidfile)/status"; then
		rm -f $pidfile
	fi
}

while :; do
	if [ ! -e "$STATE/docker.off" ]; then
		rm -f /run/docker.pid # its number may be another process by now
		forget_dead_containerd
		sh -c 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"' sh "$@" </dev/null &
		wait $! || true
	fi
	sleep 0.3
done
