package digitalocean

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/cenkalti/backoff/v5"
	"github.com/digitalocean/godo"

	"github.com/dokkaa/dokkaa/dokkaacfg/hosting"
)

// everywhere is the world.
var everywhere = []string{"0.0.0.0/0", "::/0"}

// ensureTag makes the cluster's tag: a firewall cannot name one that is not there.
func (p *Provider) ensureTag(ctx context.Context) error {
	return do(ctx, "make tag "+p.tag(), func() error {
		_, _, err := p.api.Tags.Create(ctx, &godo.TagCreateRequest{Name: p.tag()})
		return err
	})
}

// ensureVPC makes the cluster's private network if there is none, and returns its id. Its name is
// one of its kind, so it is not made twice when an answer is lost.
func (p *Provider) ensureVPC(ctx context.Context, w want, tell hosting.Tell) (string, error) {
	if w.vpc != "" {
		return w.vpc, nil
	}
	return repeat(ctx, "make VPC "+p.networkName(), func() (string, error) {
		if found, err := p.findVPC(ctx); err != nil {
			return "", backoff.Permanent(err)
		} else if found != nil {
			return found.ID, nil
		}
		vpc, _, err := p.api.VPCs.Create(ctx, &godo.VPCCreateRequest{
			Name: p.networkName(), RegionSlug: w.region, Description: "Hosts of Dokkaa cluster " + p.Cluster,
		})
		if err != nil {
			if late, lookErr := p.findVPC(ctx); lookErr == nil && late != nil {
				return late.ID, nil // refused, because an order before took effect late
			}
			return "", err
		}
		tell("VPC %s in %s", vpc.Name, vpc.RegionSlug)
		return vpc.ID, nil
	})
}

// ensureFirewall makes the cluster's firewall, or changes it if it is not as it should be.
func (p *Provider) ensureFirewall(ctx context.Context, w want, tell hosting.Tell) error {
	request := p.firewallRequest(w)
	return do(ctx, "make firewall "+request.Name, func() error {
		found, err := p.findFirewall(ctx)
		switch {
		case err != nil:
			return backoff.Permanent(err)
		case found == nil:
			if _, _, err = p.api.Firewalls.Create(ctx, request); err != nil {
				if late, lookErr := p.findFirewall(ctx); lookErr == nil && late != nil && sameFirewall(late, request) {
					return nil // refused, because an order before took effect late
				}
			}
		case !sameFirewall(found, request):
			_, _, err = p.api.Firewalls.Update(ctx, found.ID, request)
		default:
			return nil
		}
		if err == nil {
			tell("firewall %s: %s", request.Name, p.describeFirewall(w))
		}
		return err
	})
}

// firewallRequest is the whole firewall. It is in front of whatever has the tag, from the moment
// that a droplet is made.
func (p *Provider) firewallRequest(w want) *godo.FirewallRequest {
	inbound := []godo.InboundRule{{Protocol: "tcp", PortRange: "22", Sources: &godo.Sources{Addresses: listed(w.sshFrom)}}}
	if len(p.KeysFrom) > 0 {
		inbound = append(inbound, godo.InboundRule{Protocol: "tcp", PortRange: "4001", Sources: &godo.Sources{Addresses: listed(p.KeysFrom)}})
	}
	if p.Web {
		for _, port := range []string{"80", "443"} {
			inbound = append(inbound, godo.InboundRule{Protocol: "tcp", PortRange: port, Sources: &godo.Sources{Addresses: everywhere}})
		}
	}
	var outbound []godo.OutboundRule
	for _, protocol := range []string{"tcp", "udp", "icmp"} {
		// All ports between hosts: a service can be published on any of them.
		inbound = append(inbound, godo.InboundRule{Protocol: protocol, PortRange: "0", Sources: &godo.Sources{Tags: []string{p.tag()}}})
		outbound = append(outbound, godo.OutboundRule{Protocol: protocol, PortRange: "0", Destinations: &godo.Destinations{Addresses: everywhere}})
	}
	return &godo.FirewallRequest{
		Name: p.networkName(), InboundRules: inbound, OutboundRules: outbound, Tags: []string{p.tag()}, DropletIDs: []int{},
	}
}

// sameFirewall tells whether the firewall lets through what it should, and is in front of what it
// should. The order of rules does not matter.
func sameFirewall(have *godo.Firewall, want *godo.FirewallRequest) bool {
	var in, out [2][]string
	for i, rules := range [][]godo.InboundRule{have.InboundRules, want.InboundRules} {
		for _, r := range rules {
			in[i] = append(in[i], ruleText(r.Protocol, r.PortRange, r.Sources.Addresses, r.Sources.Tags))
		}
		slices.Sort(in[i])
	}
	for i, rules := range [][]godo.OutboundRule{have.OutboundRules, want.OutboundRules} {
		for _, r := range rules {
			out[i] = append(out[i], ruleText(r.Protocol, r.PortRange, r.Destinations.Addresses, r.Destinations.Tags))
		}
		slices.Sort(out[i])
	}
	return reflect.DeepEqual(in[0], in[1]) && reflect.DeepEqual(out[0], out[1]) &&
		slices.Equal(have.Tags, want.Tags) && len(have.DropletIDs) == 0
}

func ruleText(protocol, ports string, addresses, tags []string) string {
	if ports == "all" { // another word for it
		ports = "0"
	}
	addresses, tags = slices.Sorted(slices.Values(addresses)), slices.Sorted(slices.Values(tags))
	return fmt.Sprint(protocol, " ", ports, " ", addresses, " ", tags)
}

// describeFirewall puts the inbound rules in words.
func (p *Provider) describeFirewall(w want) string {
	more := ""
	if len(p.KeysFrom) > 0 {
		more = "; 4001 from " + strings.Join(listed(p.KeysFrom), ", ")
	}
	if p.Web {
		more += "; 80 and 443 from everywhere"
	}
	return fmt.Sprintf("port 22 from %s%s; all between the hosts; nothing else in", strings.Join(listed(w.sshFrom), ", "), more)
}

func listed(prefixes []netip.Prefix) []string {
	var all []string
	for _, prefix := range prefixes {
		all = append(all, prefix.String())
	}
	return all
}

// sshFrom is from where the hosts can be logged into.
func (p *Provider) sshFrom(ctx context.Context) ([]netip.Prefix, error) {
	if len(p.SSHFrom) > 0 {
		return p.SSHFrom, nil
	}
	ip, err := p.OwnIP(ctx)
	if err != nil {
		return nil, fmt.Errorf("find this machine's public address, from which port 22 is to be open: %w; say it with --ssh-from", err)
	}
	return []netip.Prefix{netip.PrefixFrom(ip, ip.BitLen())}, nil
}

// removeNetwork removes the firewall, the VPC and the tag. Droplets are gone by now.
func (p *Provider) removeNetwork(ctx context.Context) error {
	firewall, err := p.findFirewall(ctx)
	if err != nil {
		return err
	}
	if firewall != nil {
		err := do(ctx, "remove firewall "+firewall.Name, func() error {
			_, err := p.api.Firewalls.Delete(ctx, firewall.ID)
			return gone(err)
		})
		if err != nil {
			return err
		}
	}
	if err := p.removeVPC(ctx); err != nil {
		return err
	}
	return do(ctx, "remove tag "+p.tag(), func() error {
		_, err := p.api.Tags.Delete(ctx, p.tag())
		return gone(err)
	})
}

// removeVPC removes the cluster's own network, once its last member is forgotten, which takes
// DigitalOcean a while after it is gone.
func (p *Provider) removeVPC(ctx context.Context) error {
	vpc, err := p.findVPC(ctx)
	if err != nil || vpc == nil || vpc.Default {
		return err
	}
	what := "remove VPC " + vpc.Name
	return until(ctx, removeTimeout, what, func() (waiting string, err error) {
		err = do(ctx, what, func() error {
			_, err := p.api.VPCs.Delete(ctx, vpc.ID)
			return gone(err)
		})
		if status := statusOf(err); status == http.StatusForbidden || status == http.StatusConflict {
			return err.Error(), nil
		}
		return "", err
	})
}
