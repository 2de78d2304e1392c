package digitaloceantest

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// VPC is a private network.
type VPC struct {
	ID          string `json:"id"`
	URN         string `json:"urn"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Region      string `json:"region"`
	Range       string `json:"ip_range"`
	Default     bool   `json:"default"`
	Created     string `json:"created_at"`
}

// Firewall is one in front of droplets.
type Firewall struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Status   string   `json:"status"`
	Created  string   `json:"created_at"`
	Inbound  []Rule   `json:"inbound_rules"`
	Outbound []Rule   `json:"outbound_rules"`
	Droplets []int    `json:"droplet_ids"`
	Tags     []string `json:"tags"`
	Pending  []any    `json:"pending_changes"`
}

// Rule lets traffic through.
type Rule struct {
	Protocol     string `json:"protocol"`
	Ports        string `json:"ports"`
	Action       string `json:"action,omitempty"`
	Sources      *Peers `json:"sources,omitempty"`
	Destinations *Peers `json:"destinations,omitempty"`
}

// Peers are whom a rule is about.
type Peers struct {
	Addresses []string `json:"addresses,omitempty"`
	Tags      []string `json:"tags,omitempty"`
}

// named is what has an id.
type named interface{ Firewall | Volume }

func idOf(v any) string {
	switch v := v.(type) {
	case Firewall:
		return v.ID
	case Volume:
		return v.ID
	}
	return ""
}

// remove takes the thing with the id out of a list.
func remove[T named](all *[]T, id string) reply {
	i := slices.IndexFunc(*all, func(v T) bool { return idOf(v) == id })
	if i < 0 {
		return refuse(http.StatusNotFound, "The resource you were accessing could not be found.")
	}
	*all = slices.Delete(*all, i, i+1)
	return reply{status: http.StatusNoContent}
}

// VPCs are all that there are.
func (a *API) VPCs() []VPC {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.data.vpcs)
}

// NoDefaultVPCs removes them, as in a new account: the first of a region becomes the default.
func (a *API) NoDefaultVPCs() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.data.vpcs = nil
}

func (a *account) newVPC(name, region, description string, isDefault bool) VPC {
	id := a.uuid()
	return VPC{
		ID: id, URN: "do:vpc:" + id, Name: name, Description: description, Region: region, Default: isDefault, Created: now(),
		Range: fmt.Sprintf("10.114.%d.0/20", 16*(len(a.vpcs)%16)),
	}
}

func (a *account) createVPC(r *http.Request) reply {
	var want VPC
	if err := decode(r, &want); err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	if !slices.Contains(Regions, want.Region) {
		return refuse(http.StatusUnprocessableEntity, "Region is not valid")
	}
	first := true
	for _, other := range a.vpcs {
		if other.Name == want.Name {
			return refuse(http.StatusUnprocessableEntity, "a VPC with the same name already exists in your account")
		}
		first = first && other.Region != want.Region
	}
	made := a.newVPC(want.Name, want.Region, want.Description, first)
	a.vpcs = append(a.vpcs, made)
	return reply{status: http.StatusCreated, body: map[string]any{"vpc": made}}
}

func (a *account) deleteVPC(id string) reply {
	i := slices.IndexFunc(a.vpcs, func(v VPC) bool { return v.ID == id })
	switch {
	case i < 0:
		return refuse(http.StatusNotFound, "The resource you were accessing could not be found.")
	case a.vpcs[i].Default:
		return refuse(http.StatusForbidden, "Can not delete default VPCs")
	case slices.ContainsFunc(a.droplets, func(d *droplet) bool { return d.VPC == id }):
		return refuse(http.StatusForbidden, "Can not delete VPC with members")
	}
	a.vpcs = slices.Delete(a.vpcs, i, i+1)
	return reply{status: http.StatusNoContent}
}

// Firewalls are all that there are.
func (a *API) Firewalls() []Firewall {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.data.firewalls)
}

func (a *account) createFirewall(r *http.Request) reply {
	var want Firewall
	if err := decode(r, &want); err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	if err := a.checkFirewall(want); err != nil {
		return refuse(http.StatusUnprocessableEntity, "%v", err)
	}
	if slices.ContainsFunc(a.firewalls, func(f Firewall) bool { return f.Name == want.Name }) {
		return refuse(http.StatusConflict, "duplicate name")
	}
	want.ID, want.Status, want.Created, want.Pending = a.uuid(), "succeeded", now(), []any{}
	a.firewalls = append(a.firewalls, want)
	return reply{status: http.StatusAccepted, body: map[string]any{"firewall": want}}
}

func (a *account) updateFirewall(r *http.Request, id string) reply {
	var want Firewall
	if err := decode(r, &want); err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	if err := a.checkFirewall(want); err != nil {
		return refuse(http.StatusUnprocessableEntity, "%v", err)
	}
	i := slices.IndexFunc(a.firewalls, func(f Firewall) bool { return f.ID == id })
	if i < 0 {
		return refuse(http.StatusNotFound, "The resource you were accessing could not be found.")
	}
	have := &a.firewalls[i]
	have.Name, have.Inbound, have.Outbound, have.Tags, have.Droplets = want.Name, want.Inbound, want.Outbound, want.Tags, want.Droplets
	return reply{status: http.StatusOK, body: map[string]any{"firewall": *have}}
}

// checkFirewall refuses what the description has no words for.
func (a *account) checkFirewall(f Firewall) error {
	for _, tag := range f.Tags {
		if !slices.Contains(a.tags, tag) {
			return fmt.Errorf("tag %s does not exist", tag)
		}
	}
	for _, rule := range append(slices.Clone(f.Inbound), f.Outbound...) {
		if err := checkPorts(rule.Protocol, rule.Ports); err != nil {
			return err
		}
		for _, peers := range []*Peers{rule.Sources, rule.Destinations} {
			if peers == nil {
				continue
			}
			for _, tag := range peers.Tags {
				if !slices.Contains(a.tags, tag) {
					return fmt.Errorf("tag %s does not exist", tag)
				}
			}
			for _, text := range peers.Addresses {
				_, err := netip.ParsePrefix(text)
				if _, single := netip.ParseAddr(text); err != nil && single != nil {
					return fmt.Errorf("%q is not an address", text)
				}
			}
		}
	}
	return nil
}

func checkPorts(protocol, ports string) error {
	if ports == "0" || protocol == "icmp" {
		return nil
	}
	from, to, isRange := strings.Cut(ports, "-")
	if !isRange {
		to = from
	}
	first, err1 := strconv.ParseUint(from, 10, 16)
	last, err2 := strconv.ParseUint(to, 10, 16)
	if err1 != nil || err2 != nil || first == 0 || first > last {
		return fmt.Errorf("%q are not ports", ports)
	}
	return nil
}
