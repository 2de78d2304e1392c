package dokkaacfg

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/manifest"
)

// shrinking takes hosts out of a cluster. Each of its steps looks first, so the same command goes on
// where another was killed.
type shrinking struct {
	*session
	progress *progress
	staying  []Host
	leaving  []Host
	silent   []Host // of those that leave, the ones that do not answer
	install  *installation
}

func (s *session) shrink(ctx context.Context, p *progress, staying, leaving []Host, yes bool) error {
	if len(staying) == 0 {
		return usageError{"no host would be left; dokkaacfg down removes the cluster"}
	}
	w := &shrinking{session: s, progress: p, staying: staying}
	w.install = newInstallation(Installation{Cluster: s.cluster, Hosts: staying, SecretKey: s.secretKeyFile(), Log: s.log}, p)
	w.install.doors = s.doors
	if err := w.look(ctx, leaving); err != nil {
		return err
	}
	return s.withKeys(ctx, writeTimeout, func(ctx context.Context, keys clusterKeys) error {
		all, err := readInventory(ctx, keys)
		if err != nil {
			return err
		}
		if err := w.refuse(all); err != nil {
			return err
		}
		w.say(all)
		if !yes {
			if err := s.confirm("the cluster's name", s.cluster); err != nil {
				return err
			}
		}
		return w.run(ctx, keys)
	})
}

// look finds out which of the hosts that leave answer. Those that stay have to.
func (w *shrinking) look(ctx context.Context, leaving []Host) error {
	if err := w.install.connect(ctx); err != nil {
		return fmt.Errorf("a host that is to stay does not answer: %w", err)
	}
	for _, host := range leaving {
		engine, err := connect(ctx, host, w.log)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		w.leaving = append(w.leaving, host)
		if err != nil {
			w.silent = append(w.silent, host)
			w.install.lost = append(w.install.lost, host.IP())
			continue
		}
		w.install.leaving = append(w.install.leaving, host)
		w.install.engines[host.IP()] = engine
	}
	return nil
}

// refuse says why the hosts cannot go: of what they have something could not be elsewhere.
func (w *shrinking) refuse(all inventory) error {
	var why []string
	for _, host := range w.leaving {
		why = append(why, all.pinnedTo(host.IP().String())...)
	}
	why = append(why, all.tooMuchFor(w.staying)...)
	if len(why) == 0 {
		return nil
	}
	return fmt.Errorf("the hosts cannot go, nothing was changed:\n  %s", strings.Join(why, "\n  "))
}

// pinnedTo are the slots that cannot leave a host, because a volume of theirs is there.
func (i inventory) pinnedTo(ip string) (why []string) {
	for _, ref := range slices.SortedFunc(maps.Keys(i.apps), compareRefs) {
		for _, n := range slices.Sorted(maps.Keys(i.apps[ref].slots)) {
			if !isOn(i.apps[ref].slots[n], ip) {
				continue
			}
			for _, name := range slices.Sorted(maps.Keys(i.hosts[ip].volumes)) {
				if v := i.hosts[ip].volumes[name]; v.Ref == ref && (v.Slot == 0 || v.Slot == n) && isLocal(v) {
					why = append(why, fmt.Sprintf("%s %d has its volume %s on host %s; remove the container or its data first (dokkaacfg volume rm), or keep the host", ref, n, v.Volume, ip))
				}
			}
		}
	}
	return why
}

// isLocal tells of a volume whose data is on its host alone.
func isLocal(v state.Volume) bool { return v.Driver == "" || v.Driver == "local" }

// tooMuchFor says what the hosts that stay cannot hold, as far as numbers tell. What else keeps a
// container from them, the scheduler says while the others are drained.
func (i inventory) tooMuchFor(staying []Host) (why []string) {
	var cpus, needCPUs float64
	var memory, needMemory int64
	lives := 0
	for _, host := range staying {
		if h := i.hosts[host.IP().String()]; !h.lost() && h.availability == "" {
			cpus, memory, lives = cpus+h.said.CPUs, memory+h.said.Memory, lives+1
		}
	}
	if lives == 0 {
		return []string{"none of the hosts that stay takes containers now"}
	}
	for _, ref := range slices.SortedFunc(maps.Keys(i.apps), compareRefs) {
		m, slots := i.apps[ref].parsedManifest(), len(i.apps[ref].slots)
		if m == nil || m.Mode == manifest.Global {
			continue
		}
		needCPUs += m.Resources.Reserve.CPUs * float64(slots)
		needMemory += m.Resources.Reserve.Memory * int64(slots)
		most := m.MaxPerHost
		for _, service := range m.Services {
			if service.HostPort > 0 {
				most = 1
			}
		}
		if most > 0 && slots > most*lives {
			why = append(why, fmt.Sprintf("%s has %d instances, of which one host takes %d at most", ref, slots, most))
		}
	}
	if cpus > 0 && needCPUs > cpus {
		why = append(why, fmt.Sprintf("containers reserve %.3g cores, and the hosts that stay have %.3g", needCPUs, cpus))
	}
	if memory > 0 && needMemory > memory {
		why = append(why, fmt.Sprintf("containers reserve %.3g GiB of memory, and the hosts that stay have %.3g", float64(needMemory)/(1<<30), float64(memory)/(1<<30)))
	}
	return why
}

// say tells what goes.
func (w *shrinking) say(all inventory) {
	fmt.Fprintf(w.out, "Cluster %s: %s.\nTo be drained, then removed:\n", w.cluster, w.provider.describe())
	for _, host := range w.leaving {
		ip := host.IP().String()
		says := "host " + ip
		if name := hostName(host); name != "" && name != ip {
			says += " (" + name + ")"
		}
		if left := len(all.leftOn(ip)); left > 0 {
			says += ", whose " + plural(left, "container moves", "containers move") + " to the others"
		}
		if slices.Contains(w.silent, host) {
			says += "; it does not answer, and is removed as one that is lost"
		}
		fmt.Fprintf(w.out, "  %s\n", says)
		for _, name := range slices.Sorted(maps.Keys(all.hosts[ip].volumes)) {
			if v := all.hosts[ip].volumes[name]; isLocal(v) {
				fmt.Fprintf(w.out, "  volume %s of %s there, with its data\n", v.Volume, v.Ref)
			}
		}
	}
	fmt.Fprintf(w.out, "Hosts that stay: %s\n", listAddresses(w.staying))
}

// run takes the hosts out, one step after the other.
func (w *shrinking) run(ctx context.Context, keys clusterKeys) error {
	if err := takeBack(ctx, w.progress, keys, w.staying); err != nil {
		return err
	}
	for _, host := range w.leaving {
		ip := host.IP().String()
		if _, err := keys.Set(ctx, state.LeavingKey(ip), time.Now().UTC().Format(time.RFC3339), 0); err != nil {
			return err
		}
	}
	// Before they are drained: the others have to answer for etcd when the hosts go.
	if _, err := w.install.settleMembers(ctx); err != nil {
		return err
	}
	if err := w.drain(ctx, keys); err != nil {
		return fmt.Errorf("%w\nThe same command goes on; dokkaacfg scale %d takes the hosts back", err, len(w.staying)+len(w.leaving))
	}
	for _, host := range w.leaving {
		if err := w.leave(ctx, keys, host); err != nil {
			return err
		}
		w.progress.done("host %s: removed", host.IP())
	}
	// Now that they are gone, the others need not know them any more.
	w.install.leaving = nil
	if err := w.install.install(ctx); err != nil {
		return err
	}
	w.progress.say("the cluster has %s after %s", plural(len(w.staying), "host", "hosts"), w.progress.total())
	return nil
}

// drain moves what the hosts have to the others, and waits until they are empty.
func (w *shrinking) drain(ctx context.Context, keys clusterKeys) (err error) {
	var watches []*drainWatch
	defer func() {
		for _, unfinished := range watches {
			unfinished.step.end(err)
		}
	}()
	for _, host := range w.leaving {
		ip := host.IP().String()
		if err := setAvailability(ctx, keys, ip, state.Drained); err != nil {
			return err
		}
		watches = append(watches, &drainWatch{ip: ip, progress: w.progress, step: w.progress.step(ip, "drain"), timeout: drainTimeout, told: map[string]remainder{}})
	}
	if err := pause(ctx, followInterval); err != nil { // for the scheduler to have its say
		return err
	}
	return follow(ctx, w.progress, func(ctx context.Context) (bool, error) {
		all, err := readInventory(ctx, keys)
		if err != nil {
			return false, err
		}
		for len(watches) > 0 {
			empty, err := watches[0].look(all, time.Now())
			if err != nil || !empty {
				return false, err
			}
			watches[0].step.end(nil)
			watches = watches[1:]
		}
		return true, nil
	})
}

// leave takes an empty host out of the cluster: its daemons end, then it is forgotten, then removed.
func (w *shrinking) leave(ctx context.Context, keys clusterKeys, host Host) error {
	ip := host.IP().String()
	if engine := w.install.engines[host.IP()]; engine != nil {
		// Or it would enter itself again.
		conductor, err := engine.find(ctx, "conductor")
		if err == nil && conductor != nil && isOurs(conductor, "conductor") {
			err = removeContainer(ctx, engine.client, conductor.ID)
		}
		if err != nil {
			return fmt.Errorf("end the conductor of host %s: %w", ip, err)
		}
	}
	list, err := keys.List(ctx, state.HostDir(ip))
	if err != nil {
		return err
	}
	// That it is drained goes last: until then nothing new is given to it.
	isLast := func(node store.Node) bool { return node.Key == state.AvailabilityKey(ip) }
	last := slices.DeleteFunc(slices.Clone(list.Nodes), func(node store.Node) bool { return !isLast(node) })
	if err := forget(ctx, keys.Store, append(slices.DeleteFunc(list.Nodes, isLast), last...)); err != nil {
		return fmt.Errorf("forget host %s: %w", ip, err)
	}
	if err := w.provider.remove(ctx, host); err != nil {
		return fmt.Errorf("remove host %s: %w", ip, err)
	}
	return removeKey(ctx, keys.Store, state.LeavingKey(ip))
}
