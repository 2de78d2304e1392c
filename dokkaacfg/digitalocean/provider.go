// Package digitalocean makes hosts of droplets: virtual machines at DigitalOcean, each with a
// public address and one in a private network of the cluster's own, behind a firewall.
//
// Whatever belongs to a cluster is found by names and a tag that follow from the cluster's name,
// so nothing is remembered on the operator's machine, and what an interrupted call left is found
// by the next one.
package digitalocean

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/digitalocean/godo"

	"github.com/dokkaa/dokkaa/dokkaacfg/hosting"
)

// What a new cluster is made of if nothing else is asked for.
const (
	DefaultRegion = "nyc3"
	DefaultSize   = "s-1vcpu-2gb"
	DefaultImage  = "ubuntu-24-04-x64"
)

// MaxHosts is how many hosts a cluster can have. How many droplets an account may have is up to
// DigitalOcean, who say so.
const MaxHosts = 100

const (
	requestTimeout = 30 * time.Second
	pollInterval   = 5 * time.Second  // at most
	makeTimeout    = 10 * time.Minute // until all droplets are active
	removeTimeout  = 5 * time.Minute  // until each kind of thing is gone
)

// Options are what a cluster at DigitalOcean is about.
type Options struct {
	Cluster string // its name: a lower-case letter, then letters and digits
	Token   string // of the API
	KeyName string // of the SSH key, as the account has it; needed to make hosts
	KeyFile string // of its private half on this machine; "" for those of the agent and the usual files

	// Of hosts that are made; "" is as the hosts that there are, or else the default.
	Region, Size, Image string
	// VPC is the id of a private network that there is; "" for one of the cluster's own.
	VPC string
	// SSHFrom is from where port 22 can be reached; none is from this machine only.
	SSHFrom []netip.Prefix
	// KeysFrom is from where port 4001 can be reached, beside the hosts.
	KeysFrom []netip.Prefix
	// Web opens ports 80 and 443 to the world.
	Web bool

	API    string                                    // its address; "" is DigitalOcean's
	Client *http.Client                              // nil for one of its own
	OwnIP  func(context.Context) (netip.Addr, error) // this machine's address as the world sees it; nil asks the world
	Log    *slog.Logger                              // nil is silent
}

// Provider is a hosting.Provider.
type Provider struct {
	Options
	api *godo.Client
	log *slog.Logger
}

var _ hosting.Provider = (*Provider)(nil)

// New returns the provider. It sends nothing yet.
func New(o Options) (*Provider, error) {
	p := &Provider{Options: o, log: o.Log}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	client := &http.Client{}
	if o.Client != nil {
		*client = *o.Client
	}
	client.Timeout = requestTimeout
	options := []godo.ClientOpt{
		godo.SetUserAgent("dokkaacfg"), godo.SetRequestHeaders(map[string]string{"Authorization": "Bearer " + o.Token}),
	}
	if o.API != "" {
		options = append(options, godo.SetBaseURL(o.API))
	}
	api, err := godo.New(client, options...)
	if err != nil {
		return nil, fmt.Errorf("address of DigitalOcean's API: %w", err)
	}
	p.api = api
	if p.OwnIP == nil {
		p.OwnIP = func(ctx context.Context) (netip.Addr, error) { return askOwnIP(ctx, ownIPService) }
	}
	return p, nil
}

// tag is on everything of the cluster that can have one.
func (p *Provider) tag() string { return "dokkaa:" + p.Cluster }

// networkName is that of the cluster's VPC and firewall, which are one of their name in an account.
func (p *Provider) networkName() string { return "dokkaa-" + p.Cluster }

// List returns everything of the cluster.
func (p *Provider) List(ctx context.Context) (hosting.Inventory, error) {
	s, err := p.survey(ctx)
	if err != nil {
		return hosting.Inventory{}, err
	}
	volumes, err := p.volumes(ctx)
	if err != nil {
		return hosting.Inventory{}, err
	}
	return p.inventory(s, volumes), nil
}

// Plan says what Make would make.
func (p *Provider) Plan(ctx context.Context, scale int) (hosting.Plan, error) {
	s, err := p.survey(ctx)
	if err != nil {
		return hosting.Plan{}, err
	}
	w, err := p.want(ctx, s, scale)
	if err != nil {
		return hosting.Plan{}, err
	}
	return p.plan(s, w), nil
}

// Make makes hosts until there are at least scale.
func (p *Provider) Make(ctx context.Context, scale int, tell hosting.Tell) ([]hosting.Host, error) {
	s, err := p.survey(ctx)
	if err != nil {
		return nil, err
	}
	w, err := p.want(ctx, s, scale)
	if err != nil {
		return nil, err
	}
	// The firewall is there before the first host is: no host is ever without.
	if err := p.ensureTag(ctx); err != nil {
		return nil, err
	}
	if err := p.ensureFirewall(ctx, w, tell); err != nil {
		return nil, err
	}
	if len(w.missing) > 0 {
		if w.vpc, err = p.ensureVPC(ctx, w, tell); err != nil {
			return nil, err
		}
	}
	return p.ensureDroplets(ctx, scale, w, tell)
}
