package manifest

import (
	"encoding/json"
	"strconv"
	"strings"
)

func (d *decoder) services(path string, value json.RawMessage) map[string]Service {
	var services map[string]Service
	type port struct { // TCP and UDP have ports of their own
		number int
		udp    bool
	}
	ports, hostPorts := map[port]string{}, map[port]string{}
	members := d.object(path, value)
	if len(members) > maxEntries {
		d.errs.addf(path, "has %d entries, at most %d are allowed", len(members), maxEntries)
		return nil
	}
	for _, m := range members {
		at := join(path, m.name)
		d.errs.checkName(at, m.name, reservedServices)
		service := d.service(at, m.value)
		own, fixed := port{service.Port, service.UDP()}, port{service.HostPort, service.UDP()}
		if other, taken := ports[own]; taken && service.Port != 0 {
			d.errs.addf(at, "port %d is already that of service %q", service.Port, other)
		}
		if other, taken := hostPorts[fixed]; taken && service.HostPort != 0 {
			d.errs.addf(join(at, "host_port"), "%d is already that of service %q", service.HostPort, other)
		}
		if service.UDP() && service.Role == "web" {
			d.errs.add(join(at, "role"), `"web" is for what browsers connect to, and the protocol is "udp"`)
		}
		ports[own], hostPorts[fixed] = m.name, m.name
		if services == nil {
			services = map[string]Service{}
		}
		services[m.name] = service
	}
	return services
}

// service reads a port number or an object.
func (d *decoder) service(path string, value json.RawMessage) Service {
	s := Service{Protocol: "tcp", Weight: DefaultWeight, Priority: DefaultPriority}
	port := d.between(1, 65535)
	if kind(value) != '{' {
		s.Port = port(path, value)
		return s
	}
	given := d.read(path, value, fields{
		"port":      into(&s.Port, port),
		"protocol":  into(&s.Protocol, oneOf(d, "tcp", "http", "udp")),
		"role":      into(&s.Role, d.role),
		"host_port": into(&s.HostPort, d.hostPort),
		"weight":    into(&s.Weight, port),
		"priority":  into(&s.Priority, port),
	}, unsupportedServiceFields...)
	d.require(path, value, given, "port")
	return s
}

func (d *decoder) role(path string, value json.RawMessage) string {
	role := d.text(path, value)
	if role != "" && role != "web" {
		d.errs.addf(path, `must be "web", is %q`, role)
	}
	return role
}

// ownPorts are what Dokkaa itself listens on at each host.
var ownPorts = []struct {
	from, to int
	of       string
}{
	{53, 53, "name server"},
	{2379, 2380, "etcd"},
	{4001, 4010, "gateway and other daemons"},
	{10000, FirstLinkPort + MaxLinks - 1, "ambassador"},
}

func (d *decoder) hostPort(path string, value json.RawMessage) int {
	port := d.between(0, 65535)(path, value)
	for _, own := range ownPorts {
		if port >= own.from && port <= own.to {
			d.errs.addf(path, "port %d of every host is taken by Dokkaa's own %s", port, own.of)
		}
	}
	return port
}

// link reads "service", "app/service", or {"to": …, "as": …, "sticky": …}.
func (d *decoder) link(path string, value json.RawMessage) Link {
	var l Link
	toPath := path
	if kind(value) == '{' {
		toPath = join(path, "to")
		d.read(path, value, fields{
			"to": into(&l.To, d.text),
			"as": func(path string, v json.RawMessage) {
				l.As = d.text(path, v)
				d.errs.checkName(path, l.As, nil)
			},
			"sticky": into(&l.Sticky, d.flag),
		})
	} else {
		l.To = d.text(path, value)
	}
	service := d.inApp(toPath, l.To, reservedServices)
	if l.As == "" {
		l.As = service
	}
	return l
}

// inApp checks "<name>" of the same app, or "<app>/<name>", and is the name.
func (d *decoder) inApp(path, text string, reserved []string) string {
	name := text
	if app, other, found := strings.Cut(text, "/"); found {
		d.errs.checkName(path, app, reservedApps)
		name = other
	}
	if !d.errs.has(path) {
		d.errs.checkName(path, name, reserved)
	}
	return name
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
				d.errs.addf(path, "variable %s is already set by %s", key, other)
			}
			setBy[key] = path
		}
	}
}
