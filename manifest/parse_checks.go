package manifest

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of a check: what is asked more often is load, not knowledge.
const (
	minCheckInterval = 100 * time.Millisecond
	maxCheckInterval = time.Hour
	minCheckTimeout  = 10 * time.Millisecond
	maxCheckTimeout  = 10 * time.Minute
	maxThreshold     = 100
)

func (d *decoder) check(path string, value json.RawMessage) Check {
	c := Check{Interval: DefaultCheckInterval, Timeout: DefaultCheckTimeout, SuccessThreshold: DefaultSuccessThreshold,
		FailureThreshold: DefaultFailureThreshold, StartPeriod: DefaultCheckStartPeriod,
		StartInterval: DefaultCheckStartInterval, OnFailure: OnFailureRestart}
	given := d.read(path, value, fields{
		"name":              into(&c.Name, d.label),
		"type":              into(&c.Type, oneOf(d, CheckHTTP, CheckTCP, CheckExec)),
		"service":           into(&c.Service, d.word),
		"path":              into(&c.Path, d.urlPath),
		"headers":           into(&c.Headers, d.headers),
		"command":           into(&c.Command, d.checkCommand),
		"interval":          into(&c.Interval, d.lasting(minCheckInterval, maxCheckInterval)),
		"timeout":           into(&c.Timeout, d.lasting(minCheckTimeout, maxCheckTimeout)),
		"success_threshold": into(&c.SuccessThreshold, d.between(1, maxThreshold)),
		"failure_threshold": into(&c.FailureThreshold, d.between(1, maxThreshold)),
		"start_period":      into(&c.StartPeriod, d.lasting(0, 24*time.Hour)),
		"start_interval":    into(&c.StartInterval, d.lasting(minCheckInterval, maxCheckInterval)),
		"on_failure":        into(&c.OnFailure, oneOf(d, OnFailureRestart, OnFailureUnready)),
	})
	d.require(path, value, given, "type")
	if c.Type != "" && d.errs.sound(join(path, "type")) {
		d.checkFields(path, value, c.Type, given)
	}
	if c.Type == CheckHTTP && !given["path"] {
		c.Path = "/"
	}
	return c
}

// checkFields finds fields that a check of the type has no use for, or lacks.
func (d *decoder) checkFields(path string, value json.RawMessage, of CheckType, given map[string]bool) {
	for _, field := range []struct {
		name  string
		types []CheckType
	}{
		{"service", []CheckType{CheckHTTP, CheckTCP}},
		{"path", []CheckType{CheckHTTP}},
		{"headers", []CheckType{CheckHTTP}},
		{"command", []CheckType{CheckExec}},
	} {
		if given[field.name] && !slices.Contains(field.types, of) {
			d.errs.addf(join(path, field.name), "has no meaning in a check of type %q", of)
		}
	}
	if of == CheckExec {
		d.require(path, value, given, "command")
	}
}

func (d *decoder) label(path string, value json.RawMessage) string {
	label := d.text(path, value)
	if !d.errs.has(path) {
		d.errs.checkName(path, label, nil)
	}
	return label
}

func (d *decoder) checkCommand(path string, value json.RawMessage) []string {
	command := d.command(path, value)
	if len(command) == 0 && d.errs.sound(path) {
		d.errs.add(path, "must not be empty")
	}
	return command
}

func (d *decoder) urlPath(path string, value json.RawMessage) string {
	text := d.word(path, value)
	if d.errs.has(path) {
		return text
	}
	if !strings.HasPrefix(text, "/") {
		d.errs.addf(path, `must begin with "/", is %q`, text)
	} else if _, err := url.ParseRequestURI(text); err != nil || strings.HasPrefix(text, "//") || strings.ContainsAny(text, " #") {
		d.errs.addf(path, "%q is not the path of a URL", text)
	}
	return text
}

func (d *decoder) headers(path string, value json.RawMessage) map[string]string {
	headers := d.texts(path, value)
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if !isToken(name) {
			d.errs.addf(path, "%q is not the name of a header", name)
		}
		if strings.ContainsFunc(headers[name], func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			d.errs.add(join(path, name), "must not contain control characters")
		}
	}
	return headers
}

// isToken tells whether s is a token of RFC 9110, 5.6.2.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// nameChecks gives names to the checks that have none: their type, with a number if it is taken.
func (d *decoder) nameChecks(checks []Check) {
	names := map[string]int{}
	for i, c := range checks {
		if c.Name == "" {
			continue
		}
		if other, taken := names[c.Name]; taken {
			d.errs.addf(join(index("checks", i), "name"), "%q is already that of checks[%d]", c.Name, other)
		} else {
			names[c.Name] = i
		}
	}
	for i := range checks {
		for n := 1; checks[i].Name == ""; n++ {
			name := string(checks[i].Type)
			if n > 1 {
				name += "-" + strconv.Itoa(n)
			}
			if _, taken := names[name]; !taken {
				names[name], checks[i].Name = i, name
			}
			if name == "" {
				break // its type is wrong, which is said already
			}
		}
	}
}

// completeServices fills in which service a check asks, if there is but one, and finds checks of
// services that there are not.
func (d *decoder) completeServices(m *Manifest) {
	if !d.errs.sound("services") {
		return
	}
	for i := range m.Checks {
		c := &m.Checks[i]
		path := join(index("checks", i), "service")
		if c.Type != CheckHTTP && c.Type != CheckTCP || !d.errs.sound(path) {
			continue
		}
		service, found := m.Services[c.Service]
		if c.Service == "" && len(m.Services) == 1 {
			for c.Service, service = range m.Services {
				found = true
			}
		}
		switch {
		case found && service.UDP():
			d.errs.addf(path, "a check of type %q connects, and service %q takes datagrams; one of type %q may ask it", c.Type, c.Service, CheckExec)
		case found:
		case c.Service != "":
			d.errs.addf(path, "the manifest has no service %q", c.Service)
		case len(m.Services) == 0:
			d.errs.addf(path, "a check of type %q asks a service, and the manifest has none", c.Type)
		default:
			d.errs.add(path, "is missing: the manifest has several services")
		}
	}
}
