# Installs what our daemons need from the host's distribution, and says so in its last line.
export DEBIAN_FRONTEND=noninteractive

# patiently runs a command that may have to wait for another: a new machine installs updates by itself,
# and an installation of ours that was cut off goes on.
patiently() {
	for try in $(seq 150); do
		if said=$("$@" 2>&1 </dev/null); then return; fi
		case $said in
		*"locked by another process"* | *"Could not get lock"*) sleep 2 ;;
		*) break ;;
		esac
	done
	echo "$said" >&2
	return 1
}

patiently dpkg --configure -a # what broke off
packages=
command -v nft >/dev/null || [ -x /usr/sbin/nft ] || packages="$packages nftables"
command -v dockerd >/dev/null || [ -x /usr/sbin/dockerd ] || packages="$packages docker.io ca-certificates"
patiently apt-get -q update
# Newer Debians have the command line in a package of its own.
if ! command -v docker >/dev/null && apt-cache show docker-cli >/dev/null 2>&1; then
	packages="$packages docker-cli"
fi
patiently apt-get -q install --yes --no-install-recommends $packages
systemctl enable --now --quiet docker.socket docker.service
echo $packages
