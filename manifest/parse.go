package manifest

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Limits that keep one manifest from hurting the cluster.
const (
	MaxSize  = 256 << 10 // bytes
	MaxScale = 10_000
)

// Fields of the design that this version does not have yet: refused, never ignored.
var (
	unsupportedFields = []string{"entrypoint", "user", "working_dir", "labels", "hostname", "pull", "mode", "schedule",
		"concurrency", "on_host_loss", "checks", "restart", "disconnect", "update", "stop_grace_period", "drain_timeout",
		"revision_history", "constraints", "affinities", "spread", "max_per_host", "near", "apart", "resources", "volumes",
		"autoscale", "secrets", "configs", "depends_on", "cap_add", "cap_drop", "privileged", "devices", "ulimits",
		"read_only", "tmpfs", "log"}
	unsupportedServiceFields = []string{"host_port", "hosts"}
	unsupportedLinkFields    = []string{"sticky"}
)

// Parse reads a manifest strictly: unknown fields, wrong types and contradictions are errors.
// The error is an Errors with everything that is wrong, each with the path of its field.
func Parse(data []byte) (*Manifest, error) {
	if len(data) > MaxSize {
		return nil, Errors{{Message: fmt.Sprintf("is %d bytes long, at most %d are allowed", len(data), MaxSize)}}
	}
	if err := wellFormed(data); err != nil {
		return nil, Errors{{Message: err.Error()}}
	}
	var d decoder
	m := d.manifest(data)
	if len(d.errs) > 0 {
		return nil, d.errs
	}
	return m, nil
}

func (d *decoder) manifest(data []byte) *Manifest {
	m := defaults()
	d.read("", data, fields{
		"image":    func(path string, v json.RawMessage) { m.Image = d.image(path, v) },
		"command":  func(path string, v json.RawMessage) { m.Command = d.command(path, v) },
		"env":      func(path string, v json.RawMessage) { m.Env = d.env(path, v) },
		"scale":    func(path string, v json.RawMessage) { m.Scale = d.number(path, v, 0, MaxScale) },
		"services": func(path string, v json.RawMessage) { m.Services = d.services(path, v) },
		"links":    func(path string, v json.RawMessage) { m.Links = d.links(path, v) },
	}, unsupportedFields)
	if m.Image == "" && !d.errs.has("image") && kind(data) == '{' {
		d.errs.add("image", "is missing")
	}
	d.checkVariables(m)
	return m
}

func (d *decoder) image(path string, value json.RawMessage) string {
	image := d.text(path, value)
	if image == "" && !d.errs.has(path) {
		d.errs.add(path, "must not be empty")
	}
	if strings.ContainsAny(image, " \t\r\n") || strings.HasPrefix(image, "-") {
		d.errs.add(path, fmt.Sprintf("%q is not the name of an image", image))
	}
	return image
}

func (d *decoder) command(path string, value json.RawMessage) []string {
	var command []string
	for i, item := range d.array(path, value) {
		command = append(command, d.text(index(path, i), item))
	}
	return command
}

// env reads {"KEY": "value"}, or Docker's ["KEY=value"].
func (d *decoder) env(path string, value json.RawMessage) map[string]string {
	env := map[string]string{}
	if kind(value) == '[' {
		for i, item := range d.array(path, value) {
			key, text, found := strings.Cut(d.text(index(path, i), item), "=")
			if !found {
				d.errs.add(index(path, i), `must have the form "KEY=value"`)
			} else if _, twice := env[key]; twice {
				d.errs.add(index(path, i), fmt.Sprintf("%s is given twice", key))
			} else {
				d.setEnv(env, index(path, i), key, text)
			}
		}
		return env
	}
	for _, m := range d.object(path, value) {
		d.setEnv(env, join(path, m.name), m.name, d.text(join(path, m.name), m.value))
	}
	return env
}

func (d *decoder) setEnv(env map[string]string, path, key, value string) {
	if key == "" || strings.ContainsAny(key, "=\x00") {
		d.errs.add(path, fmt.Sprintf("%q is not the name of a variable", key))
		return
	}
	env[key] = value
}

func (d *decoder) services(path string, value json.RawMessage) map[string]Service {
	services := map[string]Service{}
	ports := map[int]string{}
	for _, m := range d.object(path, value) {
		at := join(path, m.name)
		d.errs.checkName(at, m.name, reservedServices)
		service := d.service(at, m.value)
		if other, taken := ports[service.Port]; taken && service.Port != 0 {
			d.errs.add(at, fmt.Sprintf("port %d is already that of service %q", service.Port, other))
		}
		ports[service.Port] = m.name
		services[m.name] = service
	}
	return services
}

// service reads a port number or an object.
func (d *decoder) service(path string, value json.RawMessage) Service {
	s := Service{Protocol: "tcp", Weight: DefaultWeight, Priority: DefaultPriority}
	if kind(value) != '{' {
		s.Port = d.number(path, value, 1, 65535)
		return s
	}
	before := len(d.errs)
	d.read(path, value, fields{
		"port":     func(path string, v json.RawMessage) { s.Port = d.number(path, v, 1, 65535) },
		"protocol": func(path string, v json.RawMessage) { s.Protocol = d.protocol(path, v) },
		"role":     func(path string, v json.RawMessage) { s.Role = d.role(path, v) },
		"weight":   func(path string, v json.RawMessage) { s.Weight = d.number(path, v, 1, 65535) },
		"priority": func(path string, v json.RawMessage) { s.Priority = d.number(path, v, 1, 65535) },
	}, unsupportedServiceFields)
	if s.Port == 0 && len(d.errs) == before {
		d.errs.add(join(path, "port"), "is missing")
	}
	return s
}

func (d *decoder) protocol(path string, value json.RawMessage) string {
	switch protocol := d.text(path, value); protocol {
	case "tcp", "http":
		return protocol
	case "udp":
		d.errs.add(path, `"udp" is not supported by this version`)
	default:
		d.errs.add(path, fmt.Sprintf(`must be "tcp" or "http", is %q`, protocol))
	}
	return ""
}

func (d *decoder) role(path string, value json.RawMessage) string {
	role := d.text(path, value)
	if role != "" && role != "web" {
		d.errs.add(path, fmt.Sprintf(`must be "web", is %q`, role))
	}
	return role
}

func (d *decoder) links(path string, value json.RawMessage) []Link {
	var links []Link
	for i, item := range d.array(path, value) {
		links = append(links, d.link(index(path, i), item))
	}
	if len(links) > MaxLinks {
		d.errs.add(path, fmt.Sprintf("has %d links, at most %d are allowed", len(links), MaxLinks))
	}
	return links
}

// link reads "service", "app/service", or {"to": …, "as": …}.
func (d *decoder) link(path string, value json.RawMessage) Link {
	var l Link
	toPath := path
	if kind(value) == '{' {
		toPath = join(path, "to")
		d.read(path, value, fields{
			"to": func(path string, v json.RawMessage) { l.To = d.text(path, v) },
			"as": func(path string, v json.RawMessage) {
				l.As = d.text(path, v)
				d.errs.checkName(path, l.As, nil)
			},
		}, unsupportedLinkFields)
	} else {
		l.To = d.text(path, value)
	}
	service := l.To
	if app, other, found := strings.Cut(l.To, "/"); found {
		d.errs.checkName(toPath, app, reservedApps)
		service = other
	}
	if !d.errs.has(toPath) {
		d.errs.checkName(toPath, service, reservedServices)
	}
	if l.As == "" {
		l.As = service
	}
	return l
}

// checkVariables finds variables that would be set twice: by two links, or by a link and the user.
func (d *decoder) checkVariables(m *Manifest) {
	setBy := map[string]string{}
	for key := range m.Env {
		setBy[key] = join("env", key)
	}
	for i, link := range m.Links {
		path := index("links", i)
		addr, port := link.variables()
		for _, key := range []string{addr, port, "BACKENDS_" + strconv.Itoa(FirstLinkPort+i)} {
			if other, taken := setBy[key]; taken {
				d.errs.add(path, fmt.Sprintf("variable %s is already set by %s", key, other))
			}
			setBy[key] = path
		}
	}
}

func (e Errors) has(path string) bool {
	for _, err := range e {
		if err.Path == path {
			return true
		}
	}
	return false
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// defaults is the manifest of a user who gave nothing.
func defaults() *Manifest {
	return &Manifest{
		Scale: 1, Mode: Replicated, Pull: PullMissing,
		Restart:    Restart{Attempts: Unlimited, Interval: DefaultRestartInterval, Delay: DefaultRestartDelay, Mode: RestartDelay},
		Disconnect: Disconnect{Replace: true, Reconcile: KeepOriginal},
		Update: Update{Order: OrderStartFirst, MaxParallel: 1, MinHealthyTime: DefaultMinHealthyTime, HealthyDeadline: DefaultHealthyDeadline,
			ProgressDeadline: DefaultProgressDeadline, FailureAction: FailureRollback},
		StopGracePeriod: DefaultStopGracePeriod, DrainTimeout: DefaultDrainTimeout, RevisionHistory: DefaultRevisionHistory,
	}
}
