# Installs what our daemons need from the host's distribution, and says so in its last line.
export DEBIAN_FRONTEND=noninteractive
packages=
command -v nft >/dev/null || [ -x /usr/sbin/nft ] || packages="$packages nftables"
command -v dockerd >/dev/null || [ -x /usr/sbin/dockerd ] || packages="$packages docker.io ca-certificates"
apt() { apt-get -q -o DPkg::Lock::Timeout=300 "$@"; } # a new machine installs updates by itself meanwhile
dpkg --configure -a # after an installation that broke off
apt update
# Newer Debians have the command line in a package of its own.
if ! command -v docker >/dev/null && apt-cache show docker-cli >/dev/null 2>&1; then
	packages="$packages docker-cli"
fi
apt install --yes --no-install-recommends $packages </dev/null
systemctl enable --now --quiet docker.socket docker.service
echo $packages
