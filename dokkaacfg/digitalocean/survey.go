package digitalocean

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/digitalocean/godo"

	"github.com/dokkaa/dokkaa/dokkaacfg/hosting"
)

// standing is what there is of the cluster.
type standing struct {
	droplets []godo.Droplet // with the tag, by age
	vpc      *godo.VPC      // of its own
	firewall *godo.Firewall
}

// survey reads what there is. What could not be read is an error, never nothing.
func (p *Provider) survey(ctx context.Context) (s standing, err error) {
	if s.droplets, err = p.droplets(ctx); err != nil {
		return s, err
	}
	if s.vpc, err = p.findVPC(ctx); err != nil {
		return s, err
	}
	s.firewall, err = p.findFirewall(ctx)
	return s, err
}

// droplets are those with the cluster's tag, the oldest first.
func (p *Provider) droplets(ctx context.Context) ([]godo.Droplet, error) {
	all, err := listAll(ctx, "list droplets", func(o *godo.ListOptions) ([]godo.Droplet, *godo.Response, error) {
		return p.api.Droplets.ListByTag(ctx, p.tag(), o)
	})
	slices.SortFunc(all, func(a, b godo.Droplet) int { return a.ID - b.ID })
	return all, err
}

func (p *Provider) findVPC(ctx context.Context) (*godo.VPC, error) {
	all, err := listAll(ctx, "list VPCs", func(o *godo.ListOptions) ([]*godo.VPC, *godo.Response, error) { return p.api.VPCs.List(ctx, o) })
	if i := slices.IndexFunc(all, func(v *godo.VPC) bool { return v.Name == p.networkName() }); i >= 0 {
		return all[i], nil
	}
	return nil, err
}

func (p *Provider) findFirewall(ctx context.Context) (*godo.Firewall, error) {
	all, err := listAll(ctx, "list firewalls", func(o *godo.ListOptions) ([]godo.Firewall, *godo.Response, error) {
		return p.api.Firewalls.List(ctx, o)
	})
	if i := slices.IndexFunc(all, func(f godo.Firewall) bool { return f.Name == p.networkName() }); i >= 0 {
		return &all[i], nil
	}
	return nil, err
}

// volumes are all of the account: the API does not list them by tag.
func (p *Provider) volumes(ctx context.Context) ([]godo.Volume, error) {
	return listAll(ctx, "list volumes", func(o *godo.ListOptions) ([]godo.Volume, *godo.Response, error) {
		return p.api.Storage.ListVolumes(ctx, &godo.ListVolumeParams{ListOptions: o})
	})
}

// inventory puts what there is in words.
func (p *Provider) inventory(s standing, volumes []godo.Volume) hosting.Inventory {
	hosts, others := p.sort(s.droplets)
	var all hosting.Inventory
	for _, d := range hosts {
		all.Hosts = append(all.Hosts, p.host(d))
	}
	for _, d := range others {
		all.Others = append(all.Others, fmt.Sprintf("droplet %s (%d), which has the cluster's tag", d.Name, d.ID))
	}
	for _, v := range volumes {
		if slices.Contains(v.Tags, p.tag()) {
			all.Others = append(all.Others, fmt.Sprintf("volume %s of %d GiB, with its data", v.Name, v.SizeGigaBytes))
			continue
		}
		for _, d := range s.droplets {
			if slices.Contains(v.DropletIDs, d.ID) {
				all.Kept = append(all.Kept, fmt.Sprintf("volume %s of %d GiB: it is attached to %s, but has not the tag %s", v.Name, v.SizeGigaBytes, d.Name, p.tag()))
			}
		}
	}
	if s.firewall != nil {
		all.Others = append(all.Others, "firewall "+s.firewall.Name)
	}
	if s.vpc != nil && s.vpc.Default {
		all.Kept = append(all.Kept, fmt.Sprintf("VPC %s: it became the default of %s, which cannot be removed; it costs nothing", s.vpc.Name, s.vpc.RegionSlug))
	} else if s.vpc != nil {
		all.Others = append(all.Others, "VPC "+s.vpc.Name)
	}
	return all
}

// sort splits droplets into hosts, by number, and others: of two with one name the older is the
// host. The younger was made because the answer that told of the older one was lost.
func (p *Provider) sort(droplets []godo.Droplet) (hosts, others []godo.Droplet) {
	have := map[int]bool{}
	for _, d := range droplets {
		if number, ok := hostNumber(p.Cluster, d.Name); ok && !have[number] {
			have[number] = true
			hosts = append(hosts, d)
		} else {
			others = append(others, d)
		}
	}
	slices.SortFunc(hosts, func(a, b godo.Droplet) int {
		x, _ := hostNumber(p.Cluster, a.Name)
		y, _ := hostNumber(p.Cluster, b.Name)
		return x - y
	})
	return hosts, others
}

func (p *Provider) host(d godo.Droplet) hosting.Host {
	h := hosting.Host{Name: d.Name, ID: fmt.Sprintf("droplet-%d", d.ID), User: "root", KeyFile: p.KeyFile, Private: addressOf(d, "private")}
	if public := addressOf(d, "public"); public.IsValid() {
		h.SSH = netip.AddrPortFrom(public, 22)
	}
	return h
}

// addressOf is the droplet's IPv4 address of a kind, or none while it has none.
func addressOf(d godo.Droplet, kind string) netip.Addr {
	if d.Networks == nil {
		return netip.Addr{}
	}
	for _, v4 := range d.Networks.V4 {
		if ip, err := netip.ParseAddr(v4.IPAddress); err == nil && v4.Type == kind {
			return ip
		}
	}
	return netip.Addr{}
}

// hostNumber is the n of <cluster>-<n>.
func hostNumber(cluster, name string) (int, bool) {
	text, ok := strings.CutPrefix(name, cluster+"-")
	var n int
	if _, err := fmt.Sscanf(text, "%d", &n); !ok || err != nil || n < 1 || fmt.Sprint(n) != text {
		return 0, false
	}
	return n, true
}

func hostName(cluster string, number int) string { return fmt.Sprintf("%s-%d", cluster, number) }
