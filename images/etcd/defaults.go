package main

import (
	"net"
	"net/url"
	"slices"
	"strings"
)

// setting is an environment variable of etcd and its value.
type setting struct{ name, value string }

// defaults are the settings in which a Dokkaa host differs from a bare etcd, without those that
// the user made by variable or by flag: etcd refuses to start where both are set.
// A configuration file (ETCD_CONFIG_FILE) replaces them all, as it replaces every variable.
func defaults(args []string, lookup func(string) (string, bool)) []setting {
	chosen := func(variable string) (string, bool) {
		if value, ok := lookup(variable); ok {
			return value, true
		}
		return flagValue(args, flagOf(variable))
	}
	hostIP, _ := lookup("HOST_IP")
	all := slices.Concat(serverDefaults(), addressDefaults(hostIP, chosen))
	return slices.DeleteFunc(all, func(s setting) bool {
		_, set := chosen(s.name)
		return set
	})
}

func serverDefaults() []setting {
	return []setting{
		{"ETCD_ENABLE_V2", "true"},
		{"ETCD_DATA_DIR", "/var/lib/etcd"},
		{"ETCD_LOG_LEVEL", "warn"},
		// By its JSON door members are added as learners; the v2 API makes voters of them at once.
		{"ETCD_ENABLE_GRPC_GATEWAY", "true"},
		{"ETCD_AUTO_COMPACTION_RETENTION", "1"},
		// The entries since the last snapshot are held in memory, and each quorum read is one:
		// the upstream default of 100,000 is for the v3 store, whose snapshots cost more.
		{"ETCD_SNAPSHOT_COUNT", "10000"},
	}
}

// addressDefaults make one member on hostIP, or leave etcd's own (localhost) if it is empty.
// What they derive from each other they derive from what the user chose, where that is so.
func addressDefaults(hostIP string, chosen func(string) (string, bool)) []setting {
	if hostIP == "" {
		return nil
	}
	// A certificate is there to be shown.
	scheme := func(variable string) string {
		if file, ok := chosen(variable); ok && file != "" {
			return "https://"
		}
		return "http://"
	}
	client := scheme("ETCD_CERT_FILE") + net.JoinHostPort(hostIP, "2379")
	peer := scheme("ETCD_PEER_CERT_FILE") + net.JoinHostPort(hostIP, "2380")
	name := hostIP
	if own, ok := chosen("ETCD_NAME"); ok {
		name = own
	}
	advertised := peer
	if own, ok := chosen("ETCD_INITIAL_ADVERTISE_PEER_URLS"); ok {
		advertised = own
	}
	return []setting{
		{"ETCD_NAME", name},
		{"ETCD_LISTEN_CLIENT_URLS", client},
		{"ETCD_ADVERTISE_CLIENT_URLS", client},
		{"ETCD_LISTEN_PEER_URLS", peer},
		{"ETCD_INITIAL_ADVERTISE_PEER_URLS", advertised},
		{"ETCD_INITIAL_CLUSTER", initialCluster(name, advertised)},
		// Against web pages that a browser inside the network has open: no foreign name may
		// resolve to us (DNS rebinding), and no origin but our own is told that it is welcome.
		// A form's POST gets through both; the gateway refuses that one.
		{"ETCD_HOST_WHITELIST", hostIP},
		{"ETCD_CORS", client},
	}
}

// initialCluster is a cluster of one member with the given, comma-separated peer URLs.
func initialCluster(name, peerURLs string) string {
	var members []string
	for u := range strings.SplitSeq(peerURLs, ",") {
		members = append(members, name+"="+u)
	}
	return strings.Join(members, ",")
}

// flagOf is the flag of an ETCD_* variable: ETCD_DATA_DIR is --data-dir.
func flagOf(variable string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(variable, "ETCD_"), "_", "-"))
}

// flagValue is the value that args give to a flag, in any of the forms that package flag accepts.
func flagValue(args []string, name string) (value string, set bool) {
	for i, arg := range args {
		flag, isFlag := strings.CutPrefix(arg, "-")
		flag, value, inline := strings.Cut(strings.TrimPrefix(flag, "-"), "=")
		switch {
		case !isFlag || flag != name:
		case inline || i+1 == len(args):
			return value, true
		default:
			return args[i+1], true
		}
	}
	return "", false
}

// healthURL is where the running server answers whether it is healthy.
func healthURL(getenv func(string) string) string {
	base := "http://127.0.0.1:2379"
	for _, name := range []string{"ETCD_LISTEN_METRICS_URLS", "ETCD_LISTEN_CLIENT_URLS"} {
		if urls := getenv(name); urls != "" {
			base, _, _ = strings.Cut(urls, ",")
			break
		}
	}
	u, err := url.Parse(base)
	if err != nil {
		return base // the request will say what is wrong with it
	}
	if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsUnspecified() {
		u.Host = net.JoinHostPort("127.0.0.1", u.Port())
	}
	return u.JoinPath("health").String()
}
