package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
)

// prober makes the checks of running instances, each in a goroutine of its own.
type prober struct {
	checker
	changed func() // called after a verdict changed; must not block

	mu     sync.Mutex
	probes map[string]*probe // by instance
	wg     sync.WaitGroup
}

// probe is what is known of one run of a container.
type probe struct {
	target  target
	up      time.Duration // that it was running already when it was first probed, at least
	verdict Verdict
	order   []string           // keys of its checks
	checks  map[string]*tested // by key
}

// tested is a check that is being made.
type tested struct {
	result
	cancel context.CancelFunc
}

func newProber(c checker, changed func()) *prober {
	return &prober{checker: c, changed: changed, probes: map[string]*probe{}}
}

// probed is an instance that is to be probed.
type probed struct {
	target
	checks []check
	health engine.Health // as Docker tells it
	up     time.Duration // that it has been running without a break as far as anybody knows
}

// sync probes exactly these instances. Another container, or the same started again, begins anew;
// other checks of the same one are taken over, and the instance stays what it was until they have
// results. Probes end with ctx.
func (p *prober) sync(ctx context.Context, instances map[string]probed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, pr := range p.probes {
		if is, wanted := instances[id]; !wanted || is.target != pr.target {
			pr.end()
			delete(p.probes, id)
		}
	}
	for id, is := range instances {
		pr, there := p.probes[id]
		if !there {
			pr = &probe{target: is.target, up: is.up, checks: map[string]*tested{}}
			p.probes[id] = pr
		}
		p.adjust(ctx, pr, is)
	}
}

// adjust makes the checks of a probe what they are to be; p.mu must be held.
func (p *prober) adjust(ctx context.Context, pr *probe, is probed) {
	wanted := map[string]bool{}
	pr.order = pr.order[:0]
	for _, c := range is.checks {
		key := c.key()
		if wanted[key] {
			continue
		}
		wanted[key] = true
		pr.order = append(pr.order, key)
		if pr.checks[key] == nil {
			checkCtx, cancel := context.WithCancel(ctx)
			t := &tested{result: result{check: c, tally: tally{since: time.Now()}}, cancel: cancel}
			pr.checks[key] = t
			p.begin(checkCtx, pr, t)
		}
		if c.Type == checkImage {
			pr.checks[key].heed(is.health)
		}
	}
	for key, t := range pr.checks {
		if !wanted[key] {
			t.cancel()
			delete(pr.checks, key)
		}
	}
	p.judge(pr)
}

// begin starts to make a check.
func (p *prober) begin(ctx context.Context, pr *probe, t *tested) {
	switch t.check.Type {
	case checkImage: // Docker does
	case checkSteady:
		p.wg.Go(func() {
			if sleep(ctx, probeSteady-pr.up) == nil {
				p.take(ctx, pr, t, nil)
			}
		})
	default:
		p.wg.Go(func() { p.run(ctx, pr, t) })
	}
}

// run makes a check again and again until ctx ends.
func (p *prober) run(ctx context.Context, pr *probe, t *tested) {
	var running string
	for {
		err := p.try(ctx, t.check, pr.target, &running)
		if ctx.Err() != nil || sleep(ctx, p.take(ctx, pr, t, err)) != nil {
			return
		}
	}
}

// take takes in a check's result, and returns when to make it again.
func (p *prober) take(ctx context.Context, pr *probe, t *tested, err error) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil { // it ended meanwhile, as nobody asks for it any more
		return 0
	}
	wait := t.tally.take(t.check.Check, err, time.Now())
	p.judge(pr)
	return wait
}

// heed takes over what Docker says of the image's check.
func (t *tested) heed(health engine.Health) {
	switch health {
	case engine.HealthStarting:
		t.health, t.reason = Unprobed, "the image's health check has not passed yet"
	case engine.HealthHealthy:
		t.health, t.passed, t.reason = Healthy, true, ""
	case engine.HealthUnhealthy:
		t.health, t.reason = Unhealthy, "the image's health check fails"
	}
}

// judge makes the verdict anew; p.mu must be held.
func (p *prober) judge(pr *probe) {
	results := make([]result, 0, len(pr.order))
	for _, key := range pr.order {
		results = append(results, pr.checks[key].result)
	}
	now, was := time.Now(), pr.verdict
	pr.verdict = combine(was, results, now)
	if was.Health == Unprobed && pr.verdict.Health == Healthy {
		pr.verdict.Since = now.Add(-pr.up) // nobody saw that it was not
	}
	if pr.verdict != was {
		p.changed()
	}
}

// verdict is the last one on this run of an instance's container.
func (p *prober) verdict(instance, container string, restarts int) Verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pr, ok := p.probes[instance]; ok && pr.target.container == container && pr.target.restarts == restarts {
		return pr.verdict
	}
	return Verdict{}
}

// confirm makes the checks again for which an instance is to be restarted, and tells whether one
// fails this time too. One that cannot be made does not.
func (p *prober) confirm(ctx context.Context, instance string) bool {
	for _, suspect := range p.suspects(instance) {
		if suspect.check.Type == checkImage { // Docker has just said so
			return true
		}
		var running string
		err := p.try(ctx, suspect.check, suspect.target, &running)
		p.take(ctx, suspect.probe, suspect.tested, err)
		if err != nil && !errors.Is(err, errUntried) {
			return true
		}
	}
	return false
}

// suspect is a check that asks for a restart.
type suspect struct {
	*probe
	*tested
}

func (p *prober) suspects(instance string) (all []suspect) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pr := p.probes[instance]
	if pr == nil {
		return nil
	}
	for _, key := range pr.order {
		if t := pr.checks[key]; t.health == Unhealthy && t.restart(time.Now()) {
			all = append(all, suspect{pr, t})
		}
	}
	return all
}

func (pr *probe) end() {
	for _, t := range pr.checks {
		t.cancel()
	}
}

// wait returns when every probe has ended, which they do with the context given to sync.
func (p *prober) wait() { p.wg.Wait() }
