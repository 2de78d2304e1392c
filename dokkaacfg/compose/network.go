package compose

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/dokkaa/dokkaa/manifest"
)

// target is a port of another service that a container links to.
type target struct {
	service string // its name in the Compose file
	port    int
	as      string // its alias, "" for none
}

// surveyPorts finds which ports the service listens on, and which of others it names: those that
// only an image knows of are not in the file.
func (c *conversion) surveyPorts(s types.ServiceConfig) {
	add := func(service string, port int) {
		if port > 0 && !slices.Contains(c.ports[service], port) {
			c.ports[service] = append(c.ports[service], port)
		}
	}
	for _, p := range s.Ports {
		if p.Protocol == "udp" {
			c.note(`%s: port %d/udp is left out: add {"port": %d, "protocol": "udp"} to the services of %s, and its name to the links of those who send to it`,
				s.Name, p.Target, p.Target, c.names[s.Name])
			continue
		}
		add(s.Name, int(p.Target))
	}
	for _, text := range s.Expose {
		number, protocol, _ := strings.Cut(text, "/")
		port, err := strconv.Atoi(number)
		if err != nil || protocol == "udp" {
			c.note("%s: expose %s is left out", s.Name, text)
			continue
		}
		add(s.Name, port)
	}
	for _, t := range c.named(s) {
		add(t.service, t.port)
	}
}

// named are the services that variables of this one name, with a port or, where that is not
// written, 0.
func (c *conversion) named(s types.ServiceConfig) (all []target) {
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		value := s.Environment[name]
		if value == nil {
			continue
		}
		for _, other := range c.project.ServiceNames() {
			if other == s.Name {
				continue
			}
			for _, found := range address(other).FindAllStringSubmatch(*value, -1) {
				port, _ := strconv.Atoi(found[2])
				all = append(all, target{service: other, port: port})
			}
		}
	}
	return all
}

// address finds a service's name where an address stands: as the whole value, after @, / , = or a
// comma, with a port or without.
func address(service string) *regexp.Regexp {
	return regexp.MustCompile(`(^|[@/,= ])` + regexp.QuoteMeta(service) + `(?::([0-9]{1,5}))?($|[/?, ])`)
}

// network takes over the ports, and makes links. The result is the links in their order.
func (c *conversion) network(d *draft, s types.ServiceConfig) []target {
	for _, port := range c.ports[s.Name] {
		if d.Services == nil {
			d.Services = map[string]any{}
		}
		d.Services[c.serviceName(s.Name, port)] = port
	}
	for _, p := range s.Ports {
		c.publish(d, s, p)
	}
	var links []target
	add := func(service, as string) {
		for _, port := range c.ports[service] {
			if !slices.ContainsFunc(links, func(l target) bool { return l.service == service && l.port == port }) {
				links = append(links, target{service, port, as})
			}
		}
		if len(c.ports[service]) == 0 && !c.jobs[service] {
			c.note("%s: needs %s, whose ports the file does not say: add them to the services of %s, and %s to the links of %s",
				s.Name, service, c.names[service], c.names[service], c.names[s.Name])
		}
	}
	for _, text := range s.Links {
		service, alias, _ := strings.Cut(text, ":")
		if alias = label(alias); alias == c.names[service] {
			alias = ""
		}
		add(service, alias)
	}
	for _, t := range c.named(s) {
		add(t.service, "")
	}
	for _, service := range slices.Sorted(maps.Keys(s.DependsOn)) {
		if !c.jobs[service] {
			add(service, "")
		}
	}
	for _, l := range links {
		name := c.serviceName(l.service, l.port)
		if l.as != "" && len(c.ports[l.service]) == 1 {
			d.Links = append(d.Links, map[string]string{"to": name, "as": l.as})
		} else {
			d.Links = append(d.Links, name)
		}
		c.note("%s: reaches %s as $%s:$%s (%s), not by its name", s.Name, l.service, variable(name, l, "ADDR"), variable(name, l, "PORT"), reached(links, l))
	}
	return links
}

// variable is the name of what the environment says of a link.
func variable(name string, l target, what string) string {
	if l.as != "" {
		name = l.as
	}
	return "SERVICE_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "_" + what
}

// reached is the address of a link: that of the ambassador, with a port by its place among the links.
func reached(links []target, l target) string {
	return fmt.Sprintf("ambassador:%d", manifest.FirstLinkPort+slices.Index(links, l))
}

// serviceName is the container's name for its first port, and has the port behind it for others.
func (c *conversion) serviceName(service string, port int) string {
	if c.ports[service][0] == port {
		return c.names[service]
	}
	return fmt.Sprintf("%s-%d", c.names[service], port)
}

// publish makes a port of the host of a published one.
func (c *conversion) publish(d *draft, s types.ServiceConfig, p types.ServicePortConfig) {
	if p.Published == "" || p.Protocol == "udp" {
		return
	}
	port, err := strconv.Atoi(p.Published)
	switch {
	case err != nil:
		c.note("%s: port %d is not published: %s is not one port", s.Name, p.Target, p.Published)
		return
	case p.HostIP != "" && p.HostIP != "0.0.0.0" && p.HostIP != "::":
		c.note("%s: port %d is not published: a manifest has no address for it, as %s is", s.Name, p.Target, p.HostIP)
		return
	}
	d.Services[c.serviceName(s.Name, int(p.Target))] = map[string]any{"port": int(p.Target), "host_port": port}
	c.note("%s: port %d is that of each host with an instance, one instance on a host, and updates stop it first; without host_port Docker chooses one", s.Name, port)
}

// rewrite puts the address by which a link is reached in place of a service's name and port.
func (c *conversion) rewrite(s types.ServiceConfig, name, value string, links []target) string {
	for _, l := range links {
		find := address(l.service)
		value = find.ReplaceAllStringFunc(value, func(found string) string {
			parts := find.FindStringSubmatch(found)
			if parts[2] == "" {
				c.note("%s: variable %s names %s without a port; it is reached at %s", s.Name, name, l.service, reached(links, l))
				return found
			}
			if port, err := strconv.Atoi(parts[2]); err != nil || port != l.port {
				return found
			}
			c.note("%s: variable %s has %s instead of %s:%s", s.Name, name, reached(links, l), l.service, parts[2])
			return parts[1] + reached(links, l) + parts[3]
		})
	}
	return value
}

// dependencies takes over the order of start.
func (c *conversion) dependencies(d *draft, s types.ServiceConfig) {
	if c.jobs[s.Name] {
		d.Mode = string(manifest.JobMode)
	}
	for _, service := range slices.Sorted(maps.Keys(s.DependsOn)) {
		name := c.names[service]
		switch {
		case c.jobs[service]:
			d.DependsOn = append(d.DependsOn, map[string]string{"container": name, "condition": "completed"})
		case s.DependsOn[service].Condition == types.ServiceConditionHealthy:
			d.DependsOn = append(d.DependsOn, name)
		default:
			d.DependsOn = append(d.DependsOn, map[string]string{"container": name, "condition": "started"})
		}
	}
}
