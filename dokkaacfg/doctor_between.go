package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

const (
	reachTimeout = 3 * time.Second
	mostAhead    = time.Second // of one clock before another
	// etcd takes no more when its file has 2 GiB.
	mostEtcd  = 2 << 30
	muchEtcd  = 1 << 30
	foreign   = "example.com"          // a name that others than our nameservers know
	noService = "no.such.skydns.local" // one that ours know that it does not exist
)

// dialFrom is how to connect from a host; nil if it cannot be done.
func dialFrom(host Host) dialFunc {
	switch h := host.(type) {
	case throughSSH:
		return h.dialThere
	case interface {
		Dial(ctx context.Context, network, addr string) (net.Conn, error)
	}:
		return h.Dial
	}
	return (&net.Dialer{}).DialContext
}

// reaches checks that the host reaches what it needs on all hosts, itself too, and gets names resolved.
func reaches(ctx context.Context, from *patient, all []*patient) []finding {
	dial := dialFrom(from.host)
	var mu sync.Mutex
	var failed []string
	var group sync.WaitGroup
	tried := 0
	for _, to := range all {
		if !to.reached {
			continue // which is told of already
		}
		ports := []uint16{53, gatewayPort}
		if to.member {
			ports = append(ports, 2379, 2380)
		}
		for _, port := range ports {
			tried++
			group.Go(func() {
				addr := netip.AddrPortFrom(to.host.IP(), port).String()
				if err := connects(ctx, dial, addr); err != nil {
					mu.Lock()
					defer mu.Unlock()
					failed = append(failed, addr+" ("+strings.TrimPrefix(firstLine(err.Error()), "dial tcp "+addr+": ")+")")
				}
			})
		}
	}
	group.Wait()
	found := []finding{fine("ports", "it reaches the gateways, nameservers and members of etcd of all hosts: %d addresses", tried)}
	if len(failed) > 0 {
		slices.Sort(failed)
		found[0] = wrong("ports", "it does not reach "+strings.Join(failed, ", "),
			"does the daemon run there? If so, a firewall is between the hosts: they need 53, 2379, 2380 and 4001 of each other on the private network")
	}
	return append(found, resolves(ctx, dial, from.host.IP(), noService), resolves(ctx, dial, from.host.IP(), foreign))
}

func connects(ctx context.Context, dial dialFunc, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	conn, err := dial(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// resolves checks that the host's nameserver answers for a name.
func resolves(ctx context.Context, dial dialFunc, host netip.Addr, name string) finding {
	check := "names"
	if name == foreign {
		check = "foreign names"
	}
	// Over TCP, which is all that can be had through SSH.
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dial(ctx, "tcp", netip.AddrPortFrom(host, 53).String())
	}}
	ctx, cancel := context.WithTimeout(ctx, 2*reachTimeout)
	defer cancel()
	_, err := resolver.LookupNetIP(ctx, "ip4", name+".")
	return judgeAnswer(check, name, err)
}

// judgeAnswer judges what a nameserver answered.
func judgeAnswer(check, name string, err error) finding {
	var says *net.DNSError
	switch {
	case err == nil:
		return fine(check, "its nameserver answers for %s", name)
	case errors.As(err, &says) && says.IsNotFound && name == noService:
		return fine(check, "its nameserver knows the services")
	case name == foreign:
		return notable(check, "its nameserver has no answer for "+name+": "+whyNot(err),
			"does the host itself get foreign names? Its /etc/resolv.conf says which nameservers skydns asks; SKYDNS_NAMESERVERS says others")
	}
	return wrong(check, "its nameserver does not answer: "+whyNot(err), "docker logs skydns on the host says why")
}

// whyNot is why there was no answer. The error itself names a nameserver that was not asked.
func whyNot(err error) string {
	var says *net.DNSError
	if errors.As(err, &says) {
		return says.Err
	}
	return firstLine(err.Error())
}

// compareClocks judges how far the hosts' clocks are apart. Nothing of ours depends on them, but logs,
// events and certificates do.
func compareClocks(patients []*patient) finding {
	const check = "clocks"
	var first, last *patient
	for _, p := range patients {
		if !p.reached || p.doubt == 0 {
			continue
		}
		if first == nil || p.ahead < first.ahead {
			first = p
		}
		if last == nil || p.ahead > last.ahead {
			last = p
		}
	}
	if first == nil {
		return notable(check, "no host's clock was read", "")
	}
	apart := last.ahead - first.ahead
	if apart-first.doubt-last.doubt > mostAhead {
		return wrong(check, fmt.Sprintf("that of %s is %s ahead of that of %s", last.host.IP(), apart.Round(100*time.Millisecond), first.host.IP()),
			"timedatectl on the hosts: NTP should be active")
	}
	return fine(check, "all within %s", (apart + first.doubt + last.doubt).Round(10*time.Millisecond))
}

// compareVersions judges whether all daemons are of one version.
func compareVersions(patients []*patient) finding {
	const check = "versions"
	on := map[string][]string{}
	for _, p := range patients {
		for _, version := range slices.Compact(slices.Sorted(maps.Values(p.versions))) {
			on[version] = append(on[version], p.host.IP().String())
		}
	}
	switch versions := slices.Sorted(maps.Keys(on)); len(versions) {
	case 0:
		return notable(check, "the images of our daemons do not say their version", "")
	case 1:
		return fine(check, "all daemons are of %s", versions[0])
	default:
		var all []string
		for _, version := range versions {
			all = append(all, version+" on "+strings.Join(on[version], ", "))
		}
		return notable(check, strings.Join(all, "; "), "an upgrade did not come to its end: dokkaacfg upgrade goes on")
	}
}

// examineEtcd looks at the members of etcd.
func (s *session) examineEtcd(ctx context.Context, patients []*patient) []finding {
	const check = "etcd"
	api := etcdAPI{doors: s.doors}
	var hosts []Host
	for _, p := range patients {
		hosts = append(hosts, p.host)
		if p.member {
			api.members = append(api.members, p.host.IP())
		}
	}
	api.dial = dialTo(hosts)
	if len(api.members) == 0 {
		return []finding{wrong(check, "no host that answers has a member of etcd", "dokkaacfg up; if it is lost for good: dokkaacfg restore")}
	}
	var found []finding
	leader := ""
	for _, member := range api.members {
		status, err := api.status(ctx, member)
		f := judgeMember(status, err)
		f.Host = member.String()
		found = append(found, f)
		if err == nil && status.Leader != "" && status.Leader != "0" {
			leader = status.Leader
		}
	}
	members, err := api.list(ctx)
	switch {
	case err != nil:
		return append(found, wrong(check, "no majority: "+firstLine(err.Error()),
			"bring members back: of 3, two are needed. If most are lost for good: dokkaacfg recover"))
	case leader == "":
		return append(found, wrong(check, "no member leads", "see what the members say"))
	}
	at := "?"
	for _, m := range members {
		if m.ID == leader {
			at = m.Host.String()
		}
	}
	return append(found, fine(check, "%s, %s leads", plural(len(members), "member", "members"), at))
}

// judgeMember judges what a member of etcd says of itself.
func judgeMember(status memberStatus, err error) finding {
	const check = "etcd member"
	size := fmt.Sprintf("version %s, %.1f MiB of %d", status.Version, float64(status.Size)/(1<<20), mostEtcd>>20)
	switch {
	case err != nil:
		return wrong(check, "it does not answer: "+firstLine(err.Error()), "docker logs etcd on the host says why")
	case status.Leader == "" || status.Leader == "0":
		return wrong(check, "it knows no leader", "it does not reach a majority of the others: see etcd and ports")
	case len(status.Errors) > 0:
		return wrong(check, strings.Join(status.Errors, "; "), "docs/operations.md, when something breaks")
	case status.Size > muchEtcd:
		return notable(check, size, "somebody writes much: dokkaacfg events; applications' own data does not belong there")
	}
	return fine(check, "%s", size)
}

// examineKeys looks whether the keys can be read, and whether all hosts are there.
func (s *session) examineKeys(ctx context.Context) []finding {
	const check = "keys"
	var found []finding
	err := s.withKeys(ctx, readTimeout, func(ctx context.Context, keys clusterKeys) error {
		all, err := readInventory(ctx, keys)
		if err != nil {
			return err
		}
		for _, h := range all.hostReports() {
			switch h.State {
			case hostReady:
				continue
			case hostClosed:
				found = append(found, finding{h.IP, "lease", checkNote, h.Reason, "it takes no new containers until that is mended"})
			default:
				found = append(found, finding{h.IP, "lease", checkWrong, h.State + ": " + h.Reason, "docker logs conductor on the host says why; if the host is gone for good: dokkaacfg host rm " + h.IP})
			}
		}
		if _, err := keys.Get(ctx, state.SchedulerKey); errors.Is(err, store.ErrNotFound) {
			found = append(found, wrong("scheduler", "no host schedules", "is there a conductor that runs? One of them takes it over within seconds"))
		}
		return nil
	})
	if err != nil {
		return append(found, wrong(check, firstLine(err.Error()), "see gateway and etcd above"))
	}
	return append(found, fine(check, "read through a gateway"))
}
