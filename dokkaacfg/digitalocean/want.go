package digitalocean

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/digitalocean/godo"

	"github.com/dokkaa/dokkaa/dokkaacfg/hosting"
)

// want is what there should be.
type want struct {
	missing []string // names of hosts
	region  string   // of all that follows, which missing hosts are made of
	size    godo.Size
	image   string
	key     int    // id
	vpc     string // id; "" until it is made
	sshFrom []netip.Prefix
}

// want finds out what there should be, and whether it can be had, before anything is made.
func (p *Provider) want(ctx context.Context, s standing, scale int) (w want, err error) {
	if w.sshFrom, err = p.sshFrom(ctx); err != nil {
		return w, err
	}
	hosts, _ := p.sort(s.droplets)
	w.missing = missing(p.Cluster, scale, hosts)
	if len(w.missing) == 0 {
		return w, nil
	}
	if w.region, err = p.region(s, hosts); err != nil {
		return w, err
	}
	if w.key, err = p.key(ctx); err != nil {
		return w, err
	}
	size, image := DefaultSize, DefaultImage
	if len(hosts) > 0 {
		size = cmp.Or(hosts[0].SizeSlug, size)
		if hosts[0].Image != nil {
			image = cmp.Or(hosts[0].Image.Slug, image)
		}
	}
	if w.size, err = p.size(ctx, cmp.Or(p.Size, size), w.region); err != nil {
		return w, err
	}
	if w.image, err = p.image(ctx, cmp.Or(p.Image, image), w.region); err != nil {
		return w, err
	}
	w.vpc, err = p.vpc(s, hosts)
	return w, err
}

// vpc is the id of the network that all hosts are in, or "" if it is still to be made.
func (p *Provider) vpc(s standing, hosts []godo.Droplet) (string, error) {
	standing := ""
	switch {
	case len(hosts) > 0:
		standing = hosts[0].VPCUUID
	case s.vpc != nil && p.VPC == "":
		standing = s.vpc.ID
	}
	if standing != "" && p.VPC != "" && standing != p.VPC {
		return "", fmt.Errorf("the hosts of cluster %s are in VPC %s; a host in another could not reach them", p.Cluster, standing)
	}
	return cmp.Or(standing, p.VPC), nil
}

// missing names the hosts that are to be made: the lowest free numbers.
func missing(cluster string, scale int, hosts []godo.Droplet) []string {
	have := map[string]bool{}
	for _, d := range hosts {
		have[d.Name] = true
	}
	var names []string
	for n := 1; len(hosts)+len(names) < scale; n++ {
		if name := hostName(cluster, n); !have[name] {
			names = append(names, name)
		}
	}
	return names
}

// region is one for all hosts: a private network does not reach further.
func (p *Provider) region(s standing, hosts []godo.Droplet) (string, error) {
	standing := ""
	switch {
	case len(hosts) > 0 && hosts[0].Region != nil:
		standing = hosts[0].Region.Slug
	case s.vpc != nil && p.VPC == "":
		standing = s.vpc.RegionSlug
	}
	if standing != "" && p.Region != "" && standing != p.Region {
		return "", fmt.Errorf("cluster %s is in %s; a host in %s could not be in its private network", p.Cluster, standing, p.Region)
	}
	return cmp.Or(standing, p.Region, DefaultRegion), nil
}

// key is the id of the account's key with the name that was asked for.
func (p *Provider) key(ctx context.Context) (int, error) {
	all, err := listAll(ctx, "list SSH keys", func(o *godo.ListOptions) ([]godo.Key, *godo.Response, error) { return p.api.Keys.List(ctx, o) })
	if err != nil {
		return 0, err
	}
	var found, names []string
	id := 0
	for _, key := range all {
		names = append(names, key.Name)
		if key.Name == p.KeyName {
			id, found = key.ID, append(found, fmt.Sprintf("%d (%s)", key.ID, key.Fingerprint))
		}
	}
	slices.Sort(names)
	has := "the account has none: add one at DigitalOcean first"
	if len(names) > 0 {
		has = "the account has " + strings.Join(names, ", ")
	}
	switch {
	case p.KeyName == "":
		return 0, fmt.Errorf("hosts are made with an SSH key of the account, by its name; %s", has)
	case len(found) == 0:
		return 0, fmt.Errorf("there is no SSH key named %q; %s", p.KeyName, has)
	case len(found) > 1:
		return 0, fmt.Errorf("there are several SSH keys named %q: %s; rename all but one at DigitalOcean", p.KeyName, strings.Join(found, ", "))
	}
	return id, nil
}

func (p *Provider) size(ctx context.Context, slug, region string) (godo.Size, error) {
	all, err := listAll(ctx, "list sizes", func(o *godo.ListOptions) ([]godo.Size, *godo.Response, error) { return p.api.Sizes.List(ctx, o) })
	if err != nil {
		return godo.Size{}, err
	}
	var here []string
	for _, size := range all {
		if !size.Available || !slices.Contains(size.Regions, region) {
			continue
		}
		if size.Slug == slug {
			return size, nil
		}
		here = append(here, size.Slug)
	}
	if len(here) == 0 {
		return godo.Size{}, fmt.Errorf("there is no region %q, or nothing to be had in it", region)
	}
	return godo.Size{}, fmt.Errorf("size %q cannot be had in %s now; there are %s", slug, region, strings.Join(here, ", "))
}

func (p *Provider) image(ctx context.Context, slug, region string) (string, error) {
	image, err := repeat(ctx, fmt.Sprintf("look up image %q", slug), func() (*godo.Image, error) {
		image, _, err := p.api.Images.GetBySlug(ctx, slug)
		return image, err
	})
	switch {
	case statusOf(err) == http.StatusNotFound:
		return "", fmt.Errorf("there is no image %q; dokkaacfg needs one with systemd, such as %s", slug, DefaultImage)
	case err != nil:
		return "", err
	case !slices.Contains(image.Regions, region):
		return "", fmt.Errorf("image %q cannot be had in %s", slug, region)
	}
	return slug, nil
}

// plan puts what is missing in words.
func (p *Provider) plan(s standing, w want) hosting.Plan {
	plan := hosting.Plan{Currency: "USD"}
	add := func(monthly float64, format string, args ...any) {
		plan.Items = append(plan.Items, hosting.Item{What: fmt.Sprintf(format, args...), Monthly: monthly})
	}
	if len(w.missing) > 0 && w.vpc == "" {
		add(0, "VPC %s in %s", p.networkName(), w.region)
	}
	if request := p.firewallRequest(w); s.firewall == nil {
		add(0, "firewall %s: %s", request.Name, p.describeFirewall(w))
	} else if !sameFirewall(s.firewall, request) {
		add(0, "change of firewall %s: %s", request.Name, p.describeFirewall(w))
	}
	for _, name := range w.missing {
		add(w.size.PriceMonthly, "host %s: %s (%d vCPU, %.3g GiB memory, %d GB disk) in %s with %s",
			name, w.size.Slug, w.size.Vcpus, float64(w.size.Memory)/1024, w.size.Disk, w.region, w.image)
	}
	return plan
}
