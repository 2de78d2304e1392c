package dokkaacfg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/dokkaa/dokkaa/dokkaacfg/membership"
)

// renewMembers replaces the members that are not what they should be, one after the other: only while all
// the others are healthy, and the one that leads last, after another leads. A majority answers all the
// time, where there is more than one.
func (i *installation) renewMembers(ctx context.Context, found etcdFound) error {
	var old []Host
	for _, host := range i.hosts {
		container := found.containers[host.IP()]
		if container == nil || !container.State.Running {
			continue
		}
		current, err := i.isCurrent(ctx, host, i.etcdDaemon(host, found))
		if err != nil {
			return err
		}
		if !current {
			old = append(old, host)
		}
	}
	for len(old) > 0 {
		next, err := i.nextToRenew(ctx, old, found)
		if err != nil {
			return err
		}
		if err := i.bring(ctx, next, i.etcdDaemon(next, found)); err != nil {
			return err
		}
		old = slices.DeleteFunc(old, func(host Host) bool { return host.IP() == next.IP() })
	}
	return nil
}

func (i *installation) etcdDaemon(host Host, found etcdFound) daemonSpec {
	return etcdDaemon(i.token, host.IP(), found.initial, "existing")
}

// nextToRenew waits until the members can do without one of the old ones, which does not lead.
func (i *installation) nextToRenew(ctx context.Context, old []Host, found etcdFound) (next Host, err error) {
	for _, host := range i.hosts {
		if found.containers[host.IP()] == nil {
			continue
		}
		if err := i.waitHealthy(ctx, host, etcdName); err != nil {
			return nil, fmt.Errorf("%w\nNo member of etcd is replaced while another is not healthy", err)
		}
	}
	etcd := i.etcd(found)
	if len(etcd.members) == 1 {
		return old[0], nil
	}
	err = i.until(ctx, func(ctx context.Context) error {
		leader, err := etcd.leader(ctx)
		if err != nil {
			return err
		}
		n := slices.IndexFunc(old, func(host Host) bool { return host.IP() != leader })
		if n >= 0 {
			next = old[n]
			return nil
		}
		if err := etcd.moveLeader(ctx, leader); err != nil {
			return err
		}
		return fmt.Errorf("etcd member %s still leads", leader)
	})
	return next, err
}

// leader is the host of the member that leads.
func (e etcdAPI) leader(ctx context.Context) (netip.Addr, error) {
	all, err := e.list(ctx)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, host := range e.members {
		status, err := e.status(ctx, host)
		if err != nil {
			continue // another may answer
		}
		for _, m := range all {
			if m.ID == status.Leader {
				return m.Host, nil
			}
		}
	}
	return netip.Addr{}, errors.New("no member of etcd leads")
}

// moveLeader has another member lead.
func (e etcdAPI) moveLeader(ctx context.Context, from netip.Addr) error {
	all, err := e.list(ctx)
	if err != nil {
		return err
	}
	n := slices.IndexFunc(all, func(m membership.Member) bool { return m.Host != from && m.Started && !m.Learner })
	if n < 0 {
		return fmt.Errorf("no other member of etcd than %s could lead", from)
	}
	ctx, cancel := context.WithTimeout(ctx, etcdPatience)
	defer cancel()
	body, err := json.Marshal(map[string]any{"targetID": all[n].ID})
	if err != nil {
		return err
	}
	client := e.doors.toEtcd(e.dial)
	defer client.CloseIdleConnections()
	if _, err := askMember(ctx, client, e.doors.member(from)+"/v3/maintenance/transfer-leadership", body, nil); err != nil {
		return fmt.Errorf("have %s lead etcd: %w", all[n].Host, err)
	}
	return nil
}
