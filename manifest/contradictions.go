package manifest

import "path"

// contradictions finds fields that are right in themselves and not together. What is wrong
// already is compared with nothing.
func (d *decoder) contradictions(m *Manifest) {
	d.checkVariables(m)
	d.checkMode(m)
	d.checkRestart(m.Restart)
	d.checkUpdate(m)
	d.checkDisconnect(m)
	d.checkPlacement(m)
	d.checkFiles(m)
}

func (d *decoder) checkMode(m *Manifest) {
	if !d.errs.sound("mode") {
		return
	}
	if m.Mode != JobMode {
		for _, field := range []struct{ name, value string }{
			{"schedule", m.Schedule}, {"concurrency", m.Concurrency}, {"on_host_loss", m.OnHostLoss}} {
			if field.value != "" {
				d.errs.addf(field.name, "is for mode %q, not %q", JobMode, m.Mode)
			}
		}
	} else {
		if m.Concurrency != "" && m.Schedule == "" && d.errs.sound("schedule") {
			d.errs.add("concurrency", "is for jobs with a schedule; without one there is one run for each revision")
		}
		if len(m.Checks) > 0 {
			d.errs.addf("checks", "mode %q has none: a job is not there to be healthy, it runs to its end", JobMode)
		}
		if m.Update.Canary > 0 {
			d.errs.addf("update.canary", "mode %q has none: a job's runs are not updated", JobMode)
		}
	}
	switch {
	case m.Scale == 1 || !d.errs.sound("scale"):
	case m.Mode == JobMode:
		d.errs.addf("scale", "must be 1 or not given in mode %q, is %d", JobMode, m.Scale)
	case m.Mode == Global:
		d.errs.addf("scale", "must not be given in mode %q, where there is one instance on each suitable host", Global)
	}
}

func (d *decoder) checkRestart(r Restart) {
	if !d.errs.sound("restart") {
		return
	}
	switch {
	case r.Attempts == Unlimited && r.Mode == RestartFail:
		d.errs.addf("restart.mode", "%q gives up when the attempts are used up, and attempts are unlimited", RestartFail)
	case r.Attempts == 0 && r.Mode == RestartDelay:
		d.errs.addf("restart.mode", "%q restarts after the interval, and attempts of 0 never restart", RestartDelay)
	}
}

func (d *decoder) checkUpdate(m *Manifest) {
	u := m.Update
	if !d.errs.sound("update") {
		return
	}
	if u.MinHealthyTime >= u.HealthyDeadline {
		d.errs.addf("update.min_healthy_time", "is %v, which can't be over by healthy_deadline, %v", u.MinHealthyTime, u.HealthyDeadline)
	}
	if u.ProgressDeadline != 0 && u.ProgressDeadline < u.HealthyDeadline {
		d.errs.addf("update.progress_deadline", "is %v: the update would fail before its instance must be healthy, by healthy_deadline, %v; 0 is never",
			u.ProgressDeadline, u.HealthyDeadline)
	}
	if u.Canary == 0 || !d.errs.sound("mode", "scale", "services", "volumes") {
		return
	}
	if m.Mode == Replicated && m.Scale > 0 && u.Canary > m.Scale {
		d.errs.addf("update.canary", "is %d, and scale is %d", u.Canary, m.Scale)
	}
	if m.StopFirst() {
		d.errs.addf("update.canary", "canaries run beside the instances that they are to replace; order %q, a host_port and a volume with a single writer forbid that",
			OrderStopFirst)
	}
}

// checkDisconnect keeps two hosts from writing one volume.
func (d *decoder) checkDisconnect(m *Manifest) {
	c := m.Disconnect
	if !d.errs.sound("disconnect", "volumes", "stop_grace_period") || !m.Fenced() || !c.Replace || c.StopOnClientAfter == 0 {
		return
	}
	if stopped := c.StopOnClientAfter + m.StopGracePeriod; stopped >= c.LostAfter {
		d.errs.addf("disconnect.stop_on_client_after", "a lost host may write a volume for %v, with stop_grace_period, and a replacement elsewhere after lost_after, %v, which must be longer",
			stopped, c.LostAfter)
	}
}

func (d *decoder) checkPlacement(m *Manifest) {
	if d.errs.sound("near", "apart") {
		near := map[string]bool{}
		for _, name := range m.Near {
			near[name] = true
		}
		for i, name := range m.Apart {
			if near[name] {
				d.errs.addf(index("apart", i), "%q is in near too", name)
			}
		}
	}
	attributes := make([]string, len(m.Spread))
	for i, s := range m.Spread {
		attributes[i] = s.Attribute
	}
	d.distinct("spread", attributes)
	if !d.errs.sound("mode", "scale", "services", "volumes", "max_per_host") {
		return
	}
	if m.Mode == Global {
		for _, field := range []struct {
			name  string
			given bool
		}{{"affinities", m.Affinities != nil}, {"spread", m.Spread != nil}, {"max_per_host", m.MaxPerHost > 0}} {
			if field.given {
				d.errs.addf(field.name, "has no meaning in mode %q, where there is one instance on each suitable host", Global)
			}
		}
	}
	d.checkSingleHost(m)
}

// checkSelf finds references of a container to itself.
func (e *Errors) checkSelf(app, name string, m *Manifest) {
	for i, other := range m.Near {
		if other == name {
			e.addf(index("near", i), "%q is this container itself", name)
		}
	}
	for i, other := range m.Apart {
		if other == name {
			e.addf(index("apart", i), "%q is this container itself; max_per_host keeps its instances apart", name)
		}
	}
	for i, dependency := range m.DependsOn {
		if dependency.Container == name || dependency.Container == app+"/"+name {
			e.addf(index("depends_on", i), "%q is this container itself, which would wait for ever", dependency.Container)
		}
	}
}

// checkSingleHost finds what keeps instances from running on one host that share a volume there.
func (d *decoder) checkSingleHost(m *Manifest) {
	for i, v := range m.Volumes {
		if v.AccessMode != SingleHost || m.Mode != Global && m.Scale < 2 {
			continue
		}
		at := join(index("volumes", i), "access_mode")
		switch {
		case m.Mode == Global:
			d.errs.addf(at, "%q is one host, and mode %q is all of them", SingleHost, Global)
		case m.MaxPerHost > 0 && m.MaxPerHost < m.Scale:
			d.errs.addf(at, "%q puts all %d instances on one host, and max_per_host is %d", SingleHost, m.Scale, m.MaxPerHost)
		case m.hasHostPort():
			d.errs.addf(at, "%q puts all %d instances on one host, where only one can have a host_port", SingleHost, m.Scale)
		}
	}
}

// checkFiles finds files that cannot all be where they are wanted.
func (d *decoder) checkFiles(m *Manifest) {
	if !d.errs.sound("secrets", "configs", "volumes") {
		return
	}
	type file struct{ path, field string }
	var files []file
	for i, s := range m.Secrets {
		files = append(files, file{s.Path, index("secrets", i)})
	}
	for i, c := range m.Configs {
		files = append(files, file{c.Path, index("configs", i)})
	}
	seen := map[string]string{}
	for _, f := range files {
		if other, taken := seen[f.path]; taken {
			d.errs.addf(join(f.field, "path"), "%q is already that of %s", f.path, other)
			continue
		}
		seen[f.path] = f.field
	}
	for _, f := range files {
		for dir := path.Dir(f.path); dir != "/"; dir = path.Dir(dir) {
			if other, taken := seen[dir]; taken {
				d.errs.addf(join(f.field, "path"), "%q is in %s, which is a file", f.path, other)
			}
		}
		for i, v := range m.Volumes {
			if inside(f.path, v.Path) {
				d.errs.addf(join(f.field, "path"), "%q is in volumes[%d], where it would outlive the container", f.path, i)
			}
		}
	}
}
