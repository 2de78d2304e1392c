package agent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// Health is what probes say of a running instance.
type Health int

// Unprobed is neither healthy nor unhealthy: nothing is announced or withdrawn for it.
const (
	Unprobed Health = iota
	Healthy
	Unhealthy
)

// Timing of probes.
const (
	probeStart     = 100 * time.Millisecond // until the first success
	probeInterval  = 10 * time.Second
	probeRecheck   = time.Second // after a failure of a healthy instance
	probeTimeout   = 2 * time.Second
	probeThreshold = 3                // failures in a row that make it unhealthy
	probePatience  = 30 * time.Second // without a first success: unhealthy
	// probeSteady is how long an instance without ports must run to be healthy. There is nothing to
	// ask it, but one that ends at once must not replace one that works.
	probeSteady = 3 * time.Second
)

// target is what is probed: the container's own address, never the published one, where
// Docker's proxy accepts for a dead backend too.
type target struct {
	container string // id, so that another container at the same address starts anew
	restarts  int    // likewise for the same container started again
	addr      netip.Addr
	ports     string // as text, to be comparable
}

// prober probes running instances, each in a goroutine of its own.
type prober struct {
	dial    func(ctx context.Context, addr string) error
	changed func() // called after a result changed; must not block

	mu     sync.Mutex
	probes map[string]*probe // by instance
	wg     sync.WaitGroup
}

type probe struct {
	target target
	cancel context.CancelFunc
	health Health
	reason string
}

func newProber(changed func()) *prober {
	return &prober{dial: dialTCP, changed: changed, probes: map[string]*probe{}}
}

// dialTCP proves that something accepts connections at addr.
func dialTCP(ctx context.Context, addr string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// sync probes exactly the targets. Probes end with ctx.
func (p *prober) sync(ctx context.Context, targets map[string]target, ports map[string][]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, pr := range p.probes {
		if targets[id] != pr.target {
			pr.cancel()
			delete(p.probes, id)
		}
	}
	for id, t := range targets {
		if _, probed := p.probes[id]; probed {
			continue
		}
		probeCtx, cancel := context.WithCancel(ctx)
		pr := &probe{target: t, cancel: cancel}
		p.probes[id] = pr
		if len(ports[id]) == 0 {
			p.wg.Go(func() { p.runSteady(probeCtx, pr) })
		} else {
			p.wg.Go(func() { p.run(probeCtx, pr, t.addr, ports[id]) })
		}
	}
}

// health is the last verdict on an instance, with the reason of one that is not Healthy.
func (p *prober) health(instance string) (Health, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pr, ok := p.probes[instance]; ok {
		return pr.health, pr.reason
	}
	return Unprobed, ""
}

// wait returns when every probe has ended, which they do with the context given to sync.
func (p *prober) wait() { p.wg.Wait() }

// run probes until ctx ends: the first success makes the instance healthy, then it takes
// probeThreshold failures in a row to make it unhealthy and one success to bring it back.
func (p *prober) run(ctx context.Context, pr *probe, addr netip.Addr, ports []int) {
	started := time.Now()
	failures := 0
	for {
		err := p.try(ctx, addr, ports)
		if ctx.Err() != nil {
			return
		}
		health := p.current(pr)
		wait := probeInterval
		switch {
		case err == nil:
			failures = 0
			p.set(pr, Healthy, "")
		case health == Healthy:
			wait = probeRecheck
			if failures++; failures >= probeThreshold {
				p.set(pr, Unhealthy, err.Error())
			}
		case health == Unprobed && time.Since(started) < probePatience:
			wait = probeStart
			p.set(pr, Unprobed, err.Error())
		default:
			wait = probeRecheck
			p.set(pr, Unhealthy, err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// runSteady makes an instance that there is nothing to ask healthy, if ctx does not end before.
func (p *prober) runSteady(ctx context.Context, pr *probe) {
	if sleep(ctx, probeSteady) == nil {
		p.set(pr, Healthy, "")
	}
}

// try connects to every port; the error says which service does not answer.
func (p *prober) try(ctx context.Context, addr netip.Addr, ports []int) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	for _, port := range ports {
		if err := p.dial(ctx, net.JoinHostPort(addr.String(), strconv.Itoa(port))); err != nil {
			return fmt.Errorf("port %d does not accept connections: %w", port, err)
		}
	}
	return nil
}

func (p *prober) current(pr *probe) Health {
	p.mu.Lock()
	defer p.mu.Unlock()
	return pr.health
}

func (p *prober) set(pr *probe, health Health, reason string) {
	p.mu.Lock()
	same := pr.health == health && pr.reason == reason
	pr.health, pr.reason = health, reason
	p.mu.Unlock()
	if !same {
		p.changed()
	}
}
