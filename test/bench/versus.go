//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	dokkaa "github.com/dokkaa/dokkaa/conductor/engine"
)

// duel is what the cluster took for something, and what others did.
type duel struct {
	what   string
	took   samples
	rivals []rival
}

// rival is one of the others.
type rival struct {
	name string
	took samples
	goal float64 // the most that the cluster may take of it; 0: it is only told
	why  string  // where the goal is missed
}

// versus is the cluster beside Docker's swarm mode and the bare Engine.
type versus struct {
	*cluster
	swarm *swarm
	r     *results
}

func (v *versus) bare(options ...string) bare { return bare{engine: v.engine(1), options: options} }

// duel measures the cluster and its rivals, and keeps the result.
func (v *versus) duel(ctx context.Context, rounds int, what string, ours contender, rivals []rival, others ...contender) error {
	all, err := interleave(ctx, rounds, append([]contender{ours}, others...)...)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	d := duel{what: what, took: all[0], rivals: rivals}
	for i := range others {
		d.rivals[i].name, d.rivals[i].took = others[i].name, all[1+i]
	}
	v.r.duels = append(v.r.duels, d)
	return nil
}

// What is also promised.
const (
	restart = "container killed → serves again"
	loss    = "host with 2 of 6 lost → 6 serve"
)

const (
	inSwarm  = "Swarm"
	byDocker = "`docker run`"
	// onNetwork tells how much of a start is due to where our containers are.
	onNetwork = "`docker run --network " + dokkaa.Network + "`"
)

// The sentence says what would change it, too.
const whySlowStart = "Docker gives what is on any network but its default one a nameserver of its own, by a program and 11 calls of " +
	"iptables at each start, and on two cores that is as much as a fifth of a start; it cannot be had without, nor would containers " +
	"on the default network be kept from each other, or ask our nameserver first with every libc. What `docker run` takes on the " +
	"cluster's network is in the table. To prepare the networks of containers before they are wanted would make up for it"

// starts compares the way from the request to the page, for one, 10 and 50 containers on one host.
func (v *versus) starts(ctx context.Context) error {
	ours, run, alike := &manifests{cluster: v.cluster}, v.bare(), v.bare("--network", dokkaa.Network)
	err := v.duel(ctx, v.Rounds, "PUT → 1 serves", contender{"cluster", starting(ours, 1)}, []rival{{goal: 1.15, why: whySlowStart}, {}, {}},
		contender{byDocker, starting(run, 1)}, contender{onNetwork, starting(alike, 1)}, contender{inSwarm, starting(v.swarm, 1)})
	if err != nil {
		return err
	}
	return errors.Join(v.startsOf(ctx, 10, v.Rounds/2), v.startsOf(ctx, 50, (v.Rounds+1)/3))
}

func (v *versus) startsOf(ctx context.Context, n, rounds int) error {
	const parallel = ", 8 at a time"
	ours, run, alike := &manifests{cluster: v.cluster}, v.bare(), v.bare("--network", dokkaa.Network)
	return v.duel(ctx, max(2, rounds), fmt.Sprintf("PUT → %d serve, on one host", n), contender{"cluster", starting(ours, n)},
		[]rival{{goal: 1, why: whySlowStart}, {goal: 1.05, why: whySlowStart}, {}}, contender{inSwarm, starting(v.swarm, n)},
		contender{byDocker + parallel, starting(run, n)}, contender{onNetwork + parallel, starting(alike, n)})
}

// restarts compares what follows the death of a container. The containers are new each time: all
// wait longer before they start again what ends again and again.
func (v *versus) restarts(ctx context.Context) error {
	return v.duel(ctx, v.Rounds, restart, contender{"cluster", restarting(&manifests{cluster: v.cluster})},
		[]rival{{goal: 1, why: whySlowStart}, {}}, contender{"`docker run --restart always`", restarting(v.bare("--restart", "always"))},
		contender{inSwarm, restarting(v.swarm)})
}

// scales compares growing.
func (v *versus) scales(ctx context.Context) error {
	// Nomad cannot be had everywhere: this is what it took on a machine of the kind that the first tables are of.
	const nomad = 844 * time.Millisecond
	return v.duel(ctx, max(2, v.Rounds/2), "scale 5 → 10 serve", contender{"cluster", scaling(&manifests{cluster: v.cluster})},
		[]rival{{}, {name: "Nomad (stated)", took: samples{nomad}, goal: 1, why: whySlowStart}}, contender{inSwarm, scaling(v.swarm)})
}

// The cluster's web server is asked for its page before it counts; Swarm has nothing to wait for
// after a start, and so it waits for nothing.
const checked = `, "checks": [{"type": "http", "service": "` + webName + `", "path": "/", "interval": "1s", "start_interval": "100ms"}],
	"update": {"min_healthy_time": "0s"}`

// updates compares replacing five containers one by one, ours under requests.
func (v *versus) updates(ctx context.Context) error {
	ours := &manifests{cluster: v.cluster, more: checked}
	load, err := v.newLoad(ctx)
	if err != nil {
		return err
	}
	quick := *v.swarm
	quick.changed = []string{"--update-order", "start-first"}
	err = v.duel(ctx, max(2, v.Rounds/3), "rolling update of 5, one at a time", contender{"cluster", updating(ours, load, v.onlyThese)},
		[]rival{{goal: 0.35}, {}}, contender{inSwarm, updating(v.swarm, nil, nil)}, contender{inSwarm + ", start-first", updating(&quick, nil, nil)})
	v.r.load = load
	return errors.Join(err, v.remove(ctx, callerName))
}

// onlyThese waits until a nameserver knows the web server at exactly these addresses.
func (v *versus) onlyThese(ctx context.Context, seen []sighting) error {
	var want []string
	for _, s := range seen {
		want = append(want, s.addr)
	}
	slices.Sort(want)
	return until(ctx, polling, func() error {
		addrs, err := v.resolve(ctx, 1, webName)
		if err != nil {
			return err
		}
		slices.Sort(addrs)
		if !slices.Equal(addrs, want) {
			return fmt.Errorf("announced at %v, not at %v", addrs, want)
		}
		return nil
	})
}

// losses compares what follows the loss of one of three hosts, with two of six containers.
func (v *versus) losses(ctx context.Context) error {
	ours := func(ctx context.Context) (time.Duration, error) {
		lost, err := v.hostWith(ctx, plain)
		if err != nil {
			return 0, err
		}
		return losing(&manifests{cluster: v.cluster}, lost, v.hosts.Host(lost), v.back(lost))(ctx)
	}
	swarmed := func(ctx context.Context) (time.Duration, error) {
		lost, err := v.swarm.follower(ctx)
		if err != nil {
			return 0, err
		}
		return losing(v.swarm, lost, v.swarm.hosts.Host(lost), v.swarm.ready)(ctx)
	}
	return v.duel(ctx, v.Outages, loss, contender{"cluster", ours}, []rival{{goal: 0.5}}, contender{inSwarm, swarmed})
}

// power is a host that can be lost.
type power interface {
	PowerOff(ctx context.Context) error
	PowerOn(ctx context.Context) error
}

// losing is how long it takes from the loss of a host until two web servers more serve on the others.
func losing(r runner, lost int, host power, back func(context.Context) error) func(ctx context.Context) (time.Duration, error) {
	return settled(r, 6, func(ctx context.Context) (took time.Duration, err error) {
		there, err := r.engines()[lost-1].running(ctx, r.label())
		if err != nil || len(there) != 2 {
			return 0, fmt.Errorf("%d of 6 containers are on host %d: %w", len(there), lost, err)
		}
		survivors := slices.Delete(r.engines(), lost-1, lost)
		took, _, err = timed(ctx, on{r, survivors}, 2, func() error { return host.PowerOff(ctx) })
		return took, errors.Join(err, host.PowerOn(ctx), back(ctx))
	})
}

// on is a runner of which only some hosts are looked at.
type on struct {
	runner
	hosts []engine
}

func (o on) engines() []engine { return o.hosts }
