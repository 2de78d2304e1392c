package digitalocean

import (
	"context"
	_ "embed"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/digitalocean/godo"

	"github.com/dokkaa/dokkaa/dokkaacfg/hosting"
)

// userData is what a droplet does at its first start. It is the same for all, and no secret: every
// process on a droplet can read it, containers that are not kept from it included.
//
//go:embed user-data.yaml
var userData string

// ensureDroplets makes what is missing, until all hosts are active and have their addresses.
func (p *Provider) ensureDroplets(ctx context.Context, scale int, w want, tell hosting.Tell) ([]hosting.Host, error) {
	m := p.newMaker(w, tell)
	deadline := time.Now().Add(makeTimeout)
	for {
		droplets, err := p.droplets(ctx)
		if err != nil {
			return nil, err
		}
		hosts, waiting, err := m.pass(ctx, scale, droplets)
		if err != nil {
			return nil, err
		}
		if waiting == "" {
			return hosts, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%s, after %s; dokkaacfg up goes on waiting, dokkaacfg down removes all", waiting, makeTimeout)
		}
		if err := wait(ctx, m.pause); err != nil {
			return nil, err
		}
	}
}

// maker makes droplets.
type maker struct {
	*Provider
	want    want
	tell    hosting.Tell
	made    map[string]bool // by name: a list may not have it yet
	told    map[int]bool    // by id: what is said once
	retry   backoff.BackOff
	failing time.Time // since when droplets cannot be made; zero if they can
	pauses  pauses
	pause   time.Duration // until the next pass
}

func (p *Provider) newMaker(w want, tell hosting.Tell) *maker {
	return &maker{Provider: p, want: w, tell: tell, made: map[string]bool{}, told: map[int]bool{}, retry: newBackOff()}
}

// pass looks at the droplets that there are, and makes those that are missing. It returns all
// hosts, or what is to be waited for.
func (m *maker) pass(ctx context.Context, scale int, droplets []godo.Droplet) (all []hosting.Host, waiting string, err error) {
	m.pause = m.pauses.take()
	hosts, others := m.sort(droplets)
	for _, d := range others {
		if _, ours := hostNumber(m.Cluster, d.Name); ours {
			m.tellOnce(d, "droplet %s (%d): removed, it was the second of its name", d.Name, d.ID)
			if err := m.deleteDroplet(ctx, d); err != nil {
				return nil, "", err
			}
			waiting = fmt.Sprintf("the second droplet %s is not gone", d.Name)
		}
	}
	for _, name := range missing(m.Cluster, scale, hosts) {
		if m.made[name] {
			waiting = fmt.Sprintf("droplet %s is made but not listed", name)
			continue
		}
		if err := m.make(ctx, name); err != nil {
			return nil, "", err
		}
		if !m.made[name] {
			return nil, fmt.Sprintf("droplet %s is not made", name), nil // what there is now is to be looked at first
		}
		waiting = fmt.Sprintf("host %s is not active", name)
	}
	for _, d := range hosts {
		host := m.host(d)
		if d.Status == "new" || !host.SSH.IsValid() || !host.Private.IsValid() {
			waiting = fmt.Sprintf("host %s is %s, with the addresses %s", d.Name, d.Status, addressText(d))
		} else if m.made[d.Name] {
			m.tellOnce(d, "host %s: made, with the addresses %s", d.Name, addressText(d))
		}
		all = append(all, host)
	}
	return all, waiting, nil
}

// tellOnce tells of a droplet what is worth no second time.
func (m *maker) tellOnce(d godo.Droplet, format string, args ...any) {
	if !m.told[d.ID] {
		m.told[d.ID] = true
		m.tell(format, args...)
	}
}

func addressText(d godo.Droplet) string {
	var all []string
	for _, kind := range []string{"public", "private"} {
		if ip := addressOf(d, kind); ip.IsValid() {
			all = append(all, ip.String())
		}
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// make makes a droplet, or leaves it unmade if the API cannot answer. Then it may be there all the
// same: whoever calls it lists them again before the next try.
func (m *maker) make(ctx context.Context, name string) error {
	_, _, err := m.api.Droplets.Create(ctx, &godo.DropletCreateRequest{
		Name: name, Region: m.want.region, Size: m.want.size.Slug, Image: godo.DropletCreateImage{Slug: m.want.image},
		SSHKeys: []godo.DropletCreateSSHKey{{ID: m.want.key}}, Tags: []string{m.tag()}, VPCUUID: m.want.vpc, UserData: userData,
		WithDropletAgent: godo.PtrTo(false),
	})
	if err == nil {
		m.made[name], m.failing = true, time.Time{}
		m.retry.Reset()
		m.pauses = pauses{}
		return nil
	}
	err = fmt.Errorf("make droplet %s: %w", name, err)
	if m.failing.IsZero() {
		m.failing = time.Now()
	}
	m.pause = m.retry.NextBackOff()
	if statusOf(err) == http.StatusTooManyRequests {
		m.pause = time.Duration(retryAfter(err)) * time.Second
	}
	if !temporary(err) || time.Since(m.failing)+m.pause > patience {
		return err
	}
	m.log.Debug("a droplet was not made, or it is not known", "host", name, "err", err)
	return nil
}

func (p *Provider) deleteDroplet(ctx context.Context, d godo.Droplet) error {
	// 422 is one that is being deleted already.
	return do(ctx, fmt.Sprintf("remove droplet %s (%d)", d.Name, d.ID), func() error {
		_, err := p.api.Droplets.Delete(ctx, d.ID)
		return gone(err, http.StatusUnprocessableEntity)
	})
}

// Remove removes a host with its disk.
func (p *Provider) Remove(ctx context.Context, name string) error {
	return p.removeDroplets(ctx, func(d godo.Droplet) bool { return d.Name == name })
}

// removeDroplets removes those that are meant, and waits until they are gone.
func (p *Provider) removeDroplets(ctx context.Context, meant func(godo.Droplet) bool) error {
	return until(ctx, removeTimeout, "remove droplets", func() (waiting string, err error) {
		all, err := p.droplets(ctx)
		for _, d := range all {
			if !meant(d) {
				continue
			}
			if err := p.deleteDroplet(ctx, d); err != nil {
				return "", err
			}
			waiting = fmt.Sprintf("droplet %s (%d) is still there", d.Name, d.ID)
		}
		return waiting, err
	})
}

// RemoveAll removes everything of the cluster.
func (p *Provider) RemoveAll(ctx context.Context) error {
	if err := p.removeDroplets(ctx, func(godo.Droplet) bool { return true }); err != nil {
		return err
	}
	if err := p.removeVolumes(ctx); err != nil {
		return err
	}
	return p.removeNetwork(ctx)
}

// removeVolumes removes those with the cluster's tag.
func (p *Provider) removeVolumes(ctx context.Context) error {
	return until(ctx, removeTimeout, "remove volumes", func() (waiting string, err error) {
		all, err := p.volumes(ctx)
		for _, v := range all {
			if !slices.Contains(v.Tags, p.tag()) {
				continue
			}
			err := do(ctx, "remove volume "+v.Name, func() error {
				_, err := p.api.Storage.DeleteVolume(ctx, v.ID)
				return gone(err, http.StatusConflict) // while it is being detached
			})
			if err != nil {
				return "", err
			}
			waiting = fmt.Sprintf("volume %s is still there", v.Name)
		}
		return waiting, err
	})
}
