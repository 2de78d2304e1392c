package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Domain is the domain of the services' names.
const Domain = "skydns.local"

// FirstLinkPort is the ambassador's port of a container's first link; the next link has the next port.
const FirstLinkPort = 10001

// MaxLinks is how many links a container may have.
const MaxLinks = 100

const (
	maxLabel  = 63    // RFC 1035, 2.3.4
	separator = "---" // between the parts of a container's name
)

var (
	reservedApps     = []string{"dns", "web", "any"} // names with a meaning in DNS
	reservedNames    = []string{"any"}
	reservedServices = []string{"any"}
)

// ValidateNames checks an application's and a container's name, as they stand in the etcd key.
// The error is an Errors.
func ValidateNames(app, name string) error {
	var errs Errors
	errs.checkNames(app, name)
	return errs.orNil()
}

func (e *Errors) checkNames(app, name string) {
	e.checkName("app", app, reservedApps)
	e.checkName("name", name, reservedNames)
}

// ContainerName is the Docker name of a slot's container: <app>---<name>, and from slot 2 on
// <app>---<name>---<slot>.
func ContainerName(app, name string, slot int) string {
	if slot == 1 {
		return app + separator + name
	}
	return app + separator + name + separator + strconv.Itoa(slot)
}

// ServiceDomain is the DNS name of a service.
func ServiceDomain(app, service string) string {
	return service + "." + app + "." + Domain
}

// Environment is the container's environment, "KEY=value": the user's own variables in order
// of their names, then those of each link.
func (m *Manifest) Environment(app string) []string {
	var env []string
	for _, key := range slices.Sorted(maps.Keys(m.Env)) {
		env = append(env, key+"="+m.Env[key])
	}
	for i, link := range m.Links {
		port := strconv.Itoa(FirstLinkPort + i)
		addr, portVar := link.variables()
		env = append(env, addr+"=ambassador", portVar+"="+port, "BACKENDS_"+port+"="+link.domain(app))
	}
	return env
}

// Backends are the names that the container may reach through the ambassador, by port.
func (m *Manifest) Backends(app string) map[string]string {
	backends := make(map[string]string, len(m.Links))
	for i, link := range m.Links {
		backends[strconv.Itoa(FirstLinkPort+i)] = link.domain(app)
	}
	return backends
}

// StickyPorts are the ambassador's ports of the container's sticky links.
func (m *Manifest) StickyPorts() (ports []int) {
	for i, link := range m.Links {
		if link.Sticky {
			ports = append(ports, FirstLinkPort+i)
		}
	}
	return ports
}

func (l Link) domain(app string) string {
	if other, service, found := strings.Cut(l.To, "/"); found {
		return ServiceDomain(other, service)
	}
	return ServiceDomain(app, l.To)
}

func (l Link) variables() (addr, port string) {
	name := strings.ToUpper(strings.ReplaceAll(l.As, "-", "_"))
	return "SERVICE_" + name + "_ADDR", "SERVICE_" + name + "_PORT"
}

// checkName adds an error unless value is a DNS label that we can use.
func (e *Errors) checkName(path, value string, reserved []string) {
	switch {
	case value == "":
		e.add(path, "must not be empty")
	case len(value) > maxLabel:
		e.add(path, fmt.Sprintf("is %d characters long, at most %d are allowed", len(value), maxLabel))
	case !isLabel(value):
		e.add(path, fmt.Sprintf("%q is not a DNS label (lower-case letters, digits and hyphens, no hyphen at either end)", value))
	case strings.Contains(value, separator):
		e.add(path, fmt.Sprintf("%q must not contain %q", value, separator))
	case slices.Contains(reserved, value):
		e.add(path, fmt.Sprintf("%q is reserved", value))
	}
}

func isLabel(s string) bool {
	for i, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case c == '-' && i > 0 && i < len(s)-1:
		default:
			return false
		}
	}
	return s != ""
}
