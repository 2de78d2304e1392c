package dokkaacfg

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

type statusCommand struct {
	JSON bool `name:"json" help:"Write JSON."`
}

// Run shows the cluster.
func (c *statusCommand) Run(ctx context.Context, s *session) error {
	hosts, err := s.provider.hosts(ctx)
	if err != nil {
		return err
	}
	if len(hosts) == 0 {
		return fmt.Errorf("there is no cluster %s; dokkaacfg up makes it", s.cluster)
	}
	r, err := s.report(ctx, addresses(hosts))
	if err != nil {
		return fmt.Errorf("read the state of cluster %s, whose hosts are %s: %w\nIs no gateway running? docker ps on a host shows it; dokkaacfg up starts what is missing",
			s.cluster, listAddresses(hosts), err)
	}
	if c.JSON {
		encoder := json.NewEncoder(s.out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	return r.write(s.out)
}

// report is what status shows.
type report struct {
	Cluster    string            `json:"cluster"`
	Scheduler  schedulerReport   `json:"scheduler"`
	Hosts      []hostReport      `json:"hosts"`
	Containers []containerReport `json:"containers"`
}

// schedulerReport is which host schedules, or why none does.
type schedulerReport struct {
	Host   string `json:"host,omitempty"`
	Reason string `json:"reason,omitempty"`
}

type hostReport struct {
	IP         string            `json:"ip"`
	State      string            `json:"state"`
	Reason     string            `json:"reason,omitempty"`
	Version    string            `json:"version,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Containers int               `json:"containers"`
}

type containerReport struct {
	state.Ref
	state.Status
}

// States of a host.
const (
	hostReady   = "ready"
	hostClosed  = "closed" // it takes no new containers
	hostLost    = "lost"
	hostGhost   = "ghost"   // its lease is one that no conductor wrote
	hostUnknown = "unknown" // its lease cannot be read
)

// report reads the keys by which the cluster shows how it is.
func (s *session) report(ctx context.Context, hosts []netip.Addr) (report, error) {
	keys, err := openKeys(hosts, s.log)
	if err != nil {
		return report{}, err
	}
	defer keys.Close()
	hostKeys, err := keys.List(ctx, state.HostsDir)
	if err != nil {
		return report{}, err
	}
	appKeys, err := keys.List(ctx, state.AppsDir)
	if err != nil {
		return report{}, err
	}
	scheduler, err := readScheduler(keys.Get(ctx, state.SchedulerKey))
	if err != nil {
		return report{}, err
	}
	return report{Cluster: s.cluster, Scheduler: scheduler,
		Hosts: readHosts(hosts, hostKeys.Nodes), Containers: readContainers(appKeys.Nodes)}, nil
}

// readScheduler tells of the scheduler's lease. An error is one that says nothing about it.
func readScheduler(lease store.Node, err error) (schedulerReport, error) {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return schedulerReport{Reason: "no host schedules now"}, nil
	case errors.Is(err, store.ErrNotFile):
		return schedulerReport{Reason: "no host schedules: " + state.SchedulerKey + " is a directory"}, nil
	case err != nil:
		return schedulerReport{}, err
	case lease.TTL == 0:
		return schedulerReport{Reason: "no host schedules: " + state.SchedulerKey + " was written by hand, the conductors remove it in a moment"}, nil
	}
	host, _, _ := strings.Cut(lease.Value, " ")
	return schedulerReport{Host: host}, nil
}

// readHosts tells of the given hosts, and of others that left keys. A key that cannot be read is
// told of with its host.
func readHosts(known []netip.Addr, nodes []store.Node) []hostReport {
	hosts := map[string]*hostReport{}
	host := func(ip string) *hostReport {
		if hosts[ip] == nil {
			hosts[ip] = &hostReport{IP: ip, State: hostLost, Reason: "it has no lease: its conductor, or the way to it, is down"}
		}
		return hosts[ip]
	}
	for _, ip := range known {
		host(ip.String())
	}
	unreadable := map[string][]string{}
	for _, node := range nodes {
		key, ok := state.ParseHostKey(node.Key)
		ip, kind := key.IP, key.Kind
		switch {
		case ok && kind == "instances":
			host(ip).Containers++
		case ok && (kind == "lease" || kind == "info"):
			var said state.Host
			err := json.Unmarshal([]byte(node.Value), &said)
			if err != nil {
				unreadable[ip] = append(unreadable[ip], unreadableKey(node, err))
			}
			host(ip).tell(said, kind == "lease")
			switch {
			case kind == "lease" && err != nil:
				host(ip).State = hostUnknown
			case kind == "lease" && node.TTL == 0:
				host(ip).State, host(ip).Reason = hostGhost, "its lease never ends: no conductor wrote it"
			}
		}
	}
	var all []hostReport
	for ip, h := range hosts {
		h.Reason = strings.Join(slices.DeleteFunc(append([]string{h.Reason}, unreadable[ip]...), isEmpty), "; ")
		all = append(all, *h)
	}
	slices.SortFunc(all, func(a, b hostReport) int { return compareAddresses(a.IP, b.IP) })
	return all
}

func unreadableKey(node store.Node, err error) string {
	return fmt.Sprintf("%s cannot be read: %v", node.Key, err)
}

func isEmpty(s string) bool { return s == "" }

// tell adds what the host says of itself: with its lease, or once upon a time.
func (h *hostReport) tell(said state.Host, leased bool) {
	if leased {
		h.State, h.Reason = hostReady, said.Condition
		if said.Condition != "" {
			h.State = hostClosed
		}
	}
	if leased || h.State == hostLost {
		h.Version, h.Labels = said.Version, said.Labels
	}
}

// readContainers tells of every container that has a manifest or a status.
func readContainers(nodes []store.Node) []containerReport {
	all, directories := map[state.Ref]state.Status{}, map[state.Ref]bool{}
	for _, node := range nodes {
		if ref, ok := manifestDirectory(node.Key); ok {
			directories[ref] = true
		}
		key, ok := state.ParseAppKey(node.Key)
		if !ok {
			continue
		}
		switch {
		case key.Kind == "manifest" && key.Item == 0:
			if _, known := all[key.Ref]; !known {
				all[key.Ref] = state.Status{State: "new: the scheduler has not looked at it yet"}
			}
		case key.Kind == "status" && key.Item == 0:
			var status state.Status
			if err := json.Unmarshal([]byte(node.Value), &status); err != nil {
				status = state.Status{State: unreadableKey(node, err)}
			}
			all[key.Ref] = status
		}
	}
	for ref := range directories {
		status := all[ref]
		status.State = cmp.Or(status.State, "refused")
		status.Errors = append(status.Errors, ref.ManifestKey()+" is a directory, not a key")
		all[ref] = status
	}
	var reports []containerReport
	for _, ref := range slices.SortedFunc(maps.Keys(all), compareRefs) {
		reports = append(reports, containerReport{ref, all[ref]})
	}
	return reports
}

// manifestDirectory tells whether the key is in a directory where a manifest should be, and whose.
func manifestDirectory(key string) (ref state.Ref, ok bool) {
	parts := strings.Split(strings.TrimPrefix(key, state.AppsDir+"/"), "/")
	if len(parts) < 4 || parts[2] != "manifest" {
		return ref, false
	}
	return state.Ref{App: parts[0], Name: parts[1]}, true
}

func compareRefs(a, b state.Ref) int {
	return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Name, b.Name))
}

// compareAddresses puts 10.0.0.9 before 10.0.0.10, and what is no address first.
func compareAddresses(a, b string) int {
	// The zero value, which is what an error leaves, is less than any address.
	addrA, _ := netip.ParseAddr(a)
	addrB, _ := netip.ParseAddr(b)
	return cmp.Or(addrA.Compare(addrB), cmp.Compare(a, b))
}
