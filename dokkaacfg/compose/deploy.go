package compose

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/dokkaa/dokkaa/manifest"
)

// scale takes over how many instances there are.
func (c *conversion) scale(d *draft, s types.ServiceConfig) {
	number := s.Scale
	if s.Deploy != nil {
		if s.Deploy.Replicas != nil {
			number = s.Deploy.Replicas
		}
		switch s.Deploy.Mode {
		case "", "replicated":
		case "global":
			d.Mode = string(manifest.Global)
		case "replicated-job":
			d.Mode = string(manifest.JobMode)
		default:
			c.note("%s: deploy.mode %s is left out", s.Name, s.Deploy.Mode)
		}
		if len(s.Deploy.Labels) > 0 {
			c.note("%s: deploy.labels is left out: labels are the containers' only", s.Name)
		}
		if s.Deploy.EndpointMode != "" {
			c.note("%s: deploy.endpoint_mode is left out", s.Name)
		}
	}
	if number != nil && d.Mode == "" && *number != 1 {
		d.Scale = number
	}
}

// restart takes over what is done about instances that end.
func (c *conversion) restart(d *draft, s types.ServiceConfig) {
	set := func(field string, value any) {
		if d.Restart == nil {
			d.Restart = map[string]any{}
		}
		d.Restart[field] = value
	}
	policy, most, _ := strings.Cut(s.Restart, ":")
	switch policy {
	case "", "always", "unless-stopped":
	case "no":
		if d.Mode != string(manifest.JobMode) {
			c.note("%s: restart \"no\" is left out: what ends is started again, unless its mode is job", s.Name)
		}
	case "on-failure":
		if n, err := strconv.Atoi(most); err == nil {
			set("attempts", n)
		}
	}
	if s.Deploy == nil || s.Deploy.RestartPolicy == nil {
		return
	}
	p := s.Deploy.RestartPolicy
	if p.Condition == "none" && d.Mode != string(manifest.JobMode) {
		c.note("%s: deploy.restart_policy.condition none is left out: what ends is started again, unless its mode is job", s.Name)
	}
	if p.MaxAttempts != nil {
		set("attempts", *p.MaxAttempts)
	}
	if p.Window != nil {
		set("interval", duration(*p.Window))
	}
	if p.Delay != nil {
		set("delay", duration(*p.Delay))
	}
}

// update takes over how an update goes.
func (c *conversion) update(d *draft, s types.ServiceConfig) {
	if s.Deploy == nil || s.Deploy.UpdateConfig == nil {
		return
	}
	u := s.Deploy.UpdateConfig
	d.Update = map[string]any{}
	if u.Parallelism != nil && *u.Parallelism > 0 {
		d.Update["max_parallel"] = *u.Parallelism
	}
	if u.Order != "" {
		d.Update["order"] = u.Order
	}
	if u.FailureAction != "" {
		d.Update["failure_action"] = u.FailureAction
	}
	if u.Monitor > 0 {
		d.Update["min_healthy_time"] = duration(u.Monitor)
	}
	if u.Delay > 0 || u.MaxFailureRatio > 0 || u.Parallelism != nil && *u.Parallelism == 0 {
		c.note("%s: of deploy.update_config, delay, max_failure_ratio and a parallelism of 0 are left out", s.Name)
	}
}

// placement takes over which hosts may run it.
func (c *conversion) placement(d *draft, s types.ServiceConfig) {
	if platform := s.Platform; platform != "" {
		if _, arch, found := strings.Cut(platform, "/"); found {
			d.Constraints = append(d.Constraints, "host.arch == "+strings.SplitN(arch, "/", 2)[0])
		}
	}
	if s.Deploy == nil {
		return
	}
	p := s.Deploy.Placement
	for _, text := range p.Constraints {
		text = strings.Replace(text, "node.labels.", "host.labels.", 1)
		text = strings.Replace(text, "node.platform.arch", "host.arch", 1)
		if strings.HasPrefix(text, "host.") {
			d.Constraints = append(d.Constraints, spaced(text))
		} else {
			c.note("%s: constraint %q is left out: conditions are about host.ip, host.arch and host.labels.*", s.Name, text)
		}
	}
	for _, preference := range p.Preferences {
		if attribute, isLabel := strings.CutPrefix(preference.Spread, "node.labels."); isLabel {
			d.Spread = append(d.Spread, "host.labels."+attribute)
		} else {
			c.note("%s: spread over %q is left out", s.Name, preference.Spread)
		}
	}
	d.MaxPerHost = int(p.MaxReplicas)
}

// spaced puts blanks around the operator, as a condition has them.
func spaced(constraint string) string {
	for _, operator := range []string{"==", "!="} {
		if left, right, found := strings.Cut(constraint, operator); found {
			return strings.TrimSpace(left) + " " + operator + " " + strings.TrimSpace(right)
		}
	}
	return constraint
}

// resources takes over limits and what a host must have left.
func (c *conversion) resources(d *draft, s types.ServiceConfig) {
	limits, reserve := map[string]any{}, map[string]any{}
	set := func(to map[string]any, cpus float32, memory types.UnitBytes) {
		if cpus > 0 {
			to["cpus"], _ = strconv.ParseFloat(fmt.Sprint(cpus), 64) // as it was written
		}
		if memory > 0 {
			to["memory"] = int64(memory)
		}
	}
	set(limits, s.CPUS, s.MemLimit)
	set(reserve, 0, s.MemReservation)
	if s.Deploy != nil {
		r := s.Deploy.Resources
		for to, from := range map[*map[string]any]*types.Resource{&limits: r.Limits, &reserve: r.Reservations} {
			if from == nil {
				continue
			}
			set(*to, from.NanoCPUs.Value(), from.MemoryBytes)
			if from.Pids > 0 || len(from.Devices) > 0 || len(from.GenericResources) > 0 {
				c.note("%s: of deploy.resources, pids, devices and generic_resources are left out", s.Name)
			}
		}
	}
	if len(reserve) > 0 {
		limits["reserve"] = reserve
	}
	d.Resources = limits
}

// checks takes over the health check.
func (c *conversion) checks(d *draft, s types.ServiceConfig) {
	h := s.HealthCheck
	if h == nil {
		return
	}
	if h.Disable || len(h.Test) > 0 && h.Test[0] == "NONE" {
		c.note("%s: healthcheck.disable is left out: without checks the image's own count, and its ports", s.Name)
		return
	}
	if len(h.Test) < 2 {
		c.note("%s: the healthcheck has no command of its own, and is left out: the image's counts", s.Name)
		return
	}
	command := slices.Clone([]string(h.Test[1:]))
	if h.Test[0] == "CMD-SHELL" {
		command = append([]string{"/bin/sh", "-c"}, command...)
	}
	check := map[string]any{"type": "exec", "command": command}
	// Compose's defaults, where they are others than ours.
	check["interval"], check["timeout"] = "30s", "30s"
	for field, value := range map[string]*types.Duration{"interval": h.Interval, "timeout": h.Timeout, "start_period": h.StartPeriod, "start_interval": h.StartInterval} {
		if value != nil && time.Duration(*value) > 0 {
			check[field] = duration(*value)
		}
	}
	if h.Retries != nil && *h.Retries > 0 {
		check["failure_threshold"] = *h.Retries
	}
	d.Checks = append(d.Checks, check)
}
