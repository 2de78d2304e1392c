# Takes away what is ours on a host, after the containers.
if [ -e /etc/systemd/system/dokkaa-firewall.service ]; then
	systemctl disable --quiet --now dokkaa-firewall || true # it may be broken
	rm -f /etc/systemd/system/dokkaa-firewall.service
	systemctl daemon-reload
fi
# The daemons' own, and ours.
for table in "inet dokkaa_hosts" "ip dokkaa"; do
	if nft list table $table >/dev/null 2>&1; then nft delete table $table; fi
done
rm -rf /etc/dokkaa
