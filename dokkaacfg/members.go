package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"
	"golang.org/x/sync/errgroup"

	"github.com/dokkaa/dokkaa/dokkaacfg/membership"
	"github.com/dokkaa/dokkaa/internal/docker"
)

const (
	catchUpTimeout = 5 * time.Minute // of a member that joins
	// connectedFor is how long etcd wants members to have been connected before it takes another.
	connectedFor = 6 * time.Second
)

// startEtcd makes etcd's members those that the hosts call for, and returns where they are.
// It goes on from wherever an earlier call was killed: see docs/adr/0029-members-of-etcd.md.
func (i *installation) startEtcd(ctx context.Context) ([]netip.Addr, error) {
	found, err := i.lookForEtcd(ctx)
	if err != nil {
		return nil, err
	}
	if !found.formed {
		if err := i.formEtcd(ctx, found); err != nil {
			return nil, err
		}
	} else if err := i.runEtcd(ctx, found); err != nil {
		return nil, err
	}
	return i.settleMembers(ctx)
}

// etcdFound is what there is of etcd on the hosts.
type etcdFound struct {
	formed     bool // other daemons of ours run: they are started when etcd is there
	data       map[netip.Addr]bool
	containers map[netip.Addr]*dockerclient.Container
	initial    string // what its first members were started with
}

func (i *installation) lookForEtcd(ctx context.Context) (etcdFound, error) {
	found := etcdFound{data: map[netip.Addr]bool{}, containers: map[netip.Addr]*dockerclient.Container{}}
	hosts := slices.Concat(i.hosts, i.leaving)
	looks := make([]etcdLook, len(hosts))
	group, groupCtx := errgroup.WithContext(ctx)
	for n, host := range hosts {
		group.Go(func() (err error) {
			if looks[n], err = i.engines[host.IP()].lookForEtcd(groupCtx); err != nil {
				return fmt.Errorf("host %s: %w", host.IP(), err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return found, err
	}
	for n, host := range hosts {
		look := looks[n]
		found.formed = found.formed || look.others
		found.data[host.IP()] = look.data
		if look.container == nil {
			continue
		}
		found.containers[host.IP()] = look.container
		if state, _ := lookup(look.container.Config.Env, "ETCD_INITIAL_CLUSTER_STATE"); state == "new" {
			found.initial, _ = lookup(look.container.Config.Env, initialCluster)
		}
	}
	return found, nil
}

// etcdLook is what there is of etcd on one host.
type etcdLook struct {
	others    bool // daemons of ours
	data      bool
	container *dockerclient.Container // nil for none of ours
}

func (e *engine) lookForEtcd(ctx context.Context) (look etcdLook, err error) {
	daemons, err := e.daemons(ctx)
	if err != nil {
		return look, err
	}
	look.others = len(others(etcdName, daemons)) > 0
	if look.data, err = e.hasVolume(ctx, etcdVolume); err != nil {
		return look, err
	}
	container, err := e.findEtcd(ctx)
	if err == nil && container != nil && isOurs(container, etcdName) {
		look.container = container
	}
	return look, err
}

// findEtcd finds the container of the host's member, nil for none. One that was put aside for another that
// was not made is as one that does not run: started, it gets the other in its place.
func (e *engine) findEtcd(ctx context.Context) (*dockerclient.Container, error) {
	container, err := e.find(ctx, etcdName)
	if err != nil || container != nil {
		return container, err
	}
	if container, err = e.putAsideLast(ctx, etcdName); container != nil {
		container.State.Running = false
	}
	return container, err
}

// formEtcd starts the first members, together: one alone would wait for the others.
func (i *installation) formEtcd(ctx context.Context, found etcdFound) error {
	initial := found.initial
	if initial == "" {
		initial = i.doors.initialMembers(addresses(i.hosts)[:membership.Count(len(i.hosts))])
	}
	var first []Host
	for _, host := range i.hosts {
		if slices.Contains(strings.Split(initial, ","), i.doors.initialMembers([]netip.Addr{host.IP()})) {
			first = append(first, host)
		}
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for _, host := range first {
		group.Go(func() error { return i.run(groupCtx, host, etcdDaemon(i.token, host.IP(), initial, "new")) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, host := range first {
		if err := i.waitHealthy(ctx, host, etcdName); err != nil {
			return err
		}
	}
	return nil
}

// runEtcd runs the members that there are as they should be: those that do not run at once, since
// they may need each other, then the others, of which one at a time is replaced; see renewMembers.
func (i *installation) runEtcd(ctx context.Context, found etcdFound) error {
	if len(found.containers) == 0 && !slices.ContainsFunc(i.hosts, func(host Host) bool { return found.data[host.IP()] }) {
		return errors.New("the data of etcd is lost: no host has it any more. What runs goes on running. Restore it from a backup: dokkaacfg restore")
	}
	for _, host := range i.hosts {
		container := found.containers[host.IP()]
		if container == nil || container.State.Running {
			continue
		}
		if err := i.run(ctx, host, etcdDaemon(i.token, host.IP(), found.initial, "existing")); err != nil {
			return err
		}
	}
	return i.renewMembers(ctx, found)
}

// settleMembers takes one step after the other until the members are those that there should be.
func (i *installation) settleMembers(ctx context.Context) ([]netip.Addr, error) {
	started := map[netip.Addr]time.Time{}
	for {
		view, etcd, err := i.viewMembers(ctx)
		if err != nil {
			return nil, err
		}
		step := membership.Next(view)
		if step.Kind == membership.Done {
			var all []netip.Addr
			for _, m := range view.Members {
				all = append(all, m.Host)
			}
			return all, nil
		}
		i.log.Debug("members of etcd", "step", step.String(), "members", view.Members)
		if wait := time.Until(started[step.Host].Add(connectedFor)); step.Hasten && wait > 0 {
			if err := pause(ctx, wait); err != nil {
				return nil, err
			}
		}
		if err := i.take(ctx, step, view, etcd); err != nil {
			return nil, err
		}
		if step.Kind == membership.Start {
			started[step.Host] = time.Now()
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// viewMembers is what the plan of the next step is made of. A member on a host that is not ours
// belongs to whoever added it: as long as it answers it is one like the others.
func (i *installation) viewMembers(ctx context.Context) (membership.View, etcdAPI, error) {
	found, err := i.lookForEtcd(ctx)
	if err != nil {
		return membership.View{}, etcdAPI{}, err
	}
	etcd := i.etcd(found)
	v := membership.View{Hosts: addresses(i.hosts), Leaving: addresses(i.leaving), Data: found.data, Running: map[netip.Addr]bool{}}
	for ip, container := range found.containers {
		v.Running[ip] = container.State.Running
	}
	err = i.until(ctx, func(ctx context.Context) (err error) {
		v.Members, err = etcd.list(ctx)
		return err
	})
	if err != nil {
		return v, etcd, fmt.Errorf("%w\nA majority of etcd's members is needed for that. If it is lost for good: dokkaacfg recover", err)
	}
	for _, m := range v.Members {
		if i.engines[m.Host] == nil && !slices.Contains(i.lost, m.Host) && m.Started && etcd.answers(ctx, m.Host) {
			v.Hosts = append(v.Hosts, m.Host)
			v.Data[m.Host], v.Running[m.Host] = true, true
		}
	}
	return v, etcd, nil
}

// etcd is asked at the members on our hosts, those that stay first.
func (i *installation) etcd(found etcdFound) etcdAPI {
	api := etcdAPI{doors: i.doors, dial: dialTo(slices.Concat(i.hosts, i.leaving))}
	for _, host := range slices.Concat(i.hosts, i.leaving) {
		if container := found.containers[host.IP()]; container != nil && container.State.Running {
			api.members = append(api.members, host.IP())
		}
	}
	return api
}

// take takes a step.
func (i *installation) take(ctx context.Context, step membership.Step, v membership.View, etcd etcdAPI) error {
	switch step.Kind {
	case membership.Add:
		return i.until(ctx, func(ctx context.Context) error { return etcd.addLearner(ctx, step.Host) })
	case membership.Start:
		return i.startMember(ctx, step, v)
	case membership.Promote:
		err := poll(ctx, catchUpTimeout, func(ctx context.Context) error { return etcd.promote(ctx, step) })
		if err != nil {
			return fmt.Errorf("%w%s", err, i.logEnd(ctx, i.host(step.Host), etcdName))
		}
		i.progress.done("etcd: %s is a member", step.Host)
	case membership.Remove:
		// A gateway that knows only members that go would have nobody to ask.
		if len(step.Left) > 0 {
			if err := i.renewGateways(ctx, step.Left); err != nil {
				return err
			}
		}
		if err := i.until(ctx, func(ctx context.Context) error { return etcd.remove(ctx, step) }); err != nil {
			return err
		}
		i.progress.done("etcd: %s is no member any more: %s", step.Host, step.Why)
	case membership.Clear:
		if err := i.engines[step.Host].clearEtcd(ctx); err != nil {
			return fmt.Errorf("host %s: %w", step.Host, err)
		}
	}
	return nil
}

// startMember starts a member that etcd knows already.
func (i *installation) startMember(ctx context.Context, step membership.Step, v membership.View) error {
	var all []netip.Addr
	for _, m := range v.Members {
		if m.Started || m.Host == step.Host { // another that has not been started has no name
			all = append(all, m.Host)
		}
	}
	return i.run(ctx, i.host(step.Host), etcdDaemon(i.token, step.Host, i.doors.initialMembers(all), "existing"))
}

// host is the host with the address.
func (i *installation) host(ip netip.Addr) Host {
	all := slices.Concat(i.hosts, i.leaving)
	return all[slices.IndexFunc(all, func(host Host) bool { return host.IP() == ip })]
}

// clearEtcd removes a member's container and its data.
func (e *engine) clearEtcd(ctx context.Context) error {
	if err := e.removeDaemon(ctx, etcdName); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := e.client.RemoveVolumeWithOptions(dockerclient.RemoveVolumeOptions{Name: etcdVolume, Context: ctx})
	if err != nil && !docker.IsNotFound(err) {
		return fmt.Errorf("remove volume %s: %w", etcdVolume, err)
	}
	return nil
}

// hasVolume tells whether there is a volume of the name.
func (e *engine) hasVolume(ctx context.Context, name string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	volumes, err := e.client.ListVolumes(dockerclient.ListVolumesOptions{Context: ctx})
	if err != nil {
		return false, fmt.Errorf("list volumes: %w", err)
	}
	return slices.ContainsFunc(volumes, func(v dockerclient.Volume) bool { return v.Name == name }), nil
}

// daemons are the names of our daemons that have a container, running or not.
func (e *engine) daemons(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	containers, err := e.client.ListContainers(dockerclient.ListContainersOptions{
		All: true, Filters: map[string][]string{"label": {daemonLabel}}, Context: ctx,
	})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var names []string
	for _, c := range containers {
		names = append(names, c.Labels[daemonLabel])
	}
	return names, nil
}
