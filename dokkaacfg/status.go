package dokkaacfg

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"

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
	Hosts      []hostReport      `json:"hosts"`
	Containers []containerReport `json:"containers"`
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
	hostReady  = "ready"
	hostClosed = "closed" // it takes no new containers
	hostLost   = "lost"
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
	containers, err := readContainers(appKeys.Nodes)
	if err != nil {
		return report{}, err
	}
	hostReports, err := readHosts(hosts, hostKeys.Nodes)
	return report{Cluster: s.cluster, Hosts: hostReports, Containers: containers}, err
}

// readHosts tells of the given hosts, and of others that left keys.
func readHosts(known []netip.Addr, nodes []store.Node) ([]hostReport, error) {
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
	for _, node := range nodes {
		ip, kind, _, ok := state.ParseHostKey(node.Key)
		switch {
		case ok && kind == "instances":
			host(ip).Containers++
		case ok:
			var said state.Host
			if err := json.Unmarshal([]byte(node.Value), &said); err != nil {
				return nil, fmt.Errorf("read %s: %w", node.Key, err)
			}
			host(ip).tell(said, kind == "lease")
		}
	}
	var all []hostReport
	for _, h := range hosts {
		all = append(all, *h)
	}
	slices.SortFunc(all, func(a, b hostReport) int { return compareAddresses(a.IP, b.IP) })
	return all, nil
}

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
func readContainers(nodes []store.Node) ([]containerReport, error) {
	all := map[state.Ref]state.Status{}
	for _, node := range nodes {
		key, ok := state.ParseAppKey(node.Key)
		if !ok {
			continue
		}
		switch key.Kind {
		case "manifest":
			if _, known := all[key.Ref]; !known {
				all[key.Ref] = state.Status{State: "new: the scheduler has not looked at it yet"}
			}
		case "status":
			var status state.Status
			if err := json.Unmarshal([]byte(node.Value), &status); err != nil {
				return nil, fmt.Errorf("read %s: %w", node.Key, err)
			}
			all[key.Ref] = status
		}
	}
	var reports []containerReport
	for _, ref := range slices.SortedFunc(maps.Keys(all), compareRefs) {
		reports = append(reports, containerReport{ref, all[ref]})
	}
	return reports, nil
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
