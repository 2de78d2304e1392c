package dokkaacfg

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// tunnelTarget is what connections of this machine are carried to.
type tunnelTarget struct {
	instanceFlags
	of   state.Ref // app, and name of a container or a service
	port int       // of the containers; 0 is that of the service
}

// reached is where a connection may go now.
type reached struct {
	instanceReport
	port int
}

func (r reached) String() string {
	return fmt.Sprintf("%s %d on host %s, port %d", r.Ref, r.Slot, r.Host, r.port)
}

// resolve finds the instances, and the port of each. Of a name that both a container and a service
// have, the container is meant where a port is said, else the service.
func (t tunnelTarget) resolve(all inventory) ([]reached, error) {
	offers := all.offers(t.of)
	_, isContainer := all.apps[t.of]
	if t.port > 0 && isContainer {
		offers = map[state.Ref]int{t.of: t.port}
	}
	if len(offers) == 0 {
		return nil, all.noSuchTarget(t.of, isContainer)
	}
	var found []reached
	var failed error
	for _, ref := range slices.SortedFunc(maps.Keys(offers), compareRefs) {
		port := t.port
		if port == 0 {
			port = offers[ref]
		}
		usable, err := t.choose(all, ref)
		if err != nil {
			failed = err
		}
		for _, r := range usable {
			found = append(found, reached{r, port})
		}
	}
	if len(found) == 0 {
		return nil, failed
	}
	return found, nil
}

// offers are the containers that offer a service that takes connections, and at which port.
func (i inventory) offers(service state.Ref) map[state.Ref]int {
	found := map[state.Ref]int{}
	for ref, app := range i.apps {
		if offered, ok := app.services()[service.Name]; ok && ref.App == service.App && !offered.UDP() {
			found[ref] = offered.Port
		}
	}
	return found
}

// services are those of the manifest, or of the newest revision while that is refused.
func (a *appKeys) services() map[string]manifest.Service {
	if m := a.parsedManifest(); m != nil {
		return m.Services
	}
	for _, n := range slices.Backward(slices.Sorted(maps.Keys(a.revisions))) {
		if m, err := manifest.Parse(a.revisions[n].Manifest); err == nil {
			return m.Services
		}
	}
	return nil
}

func (i inventory) noSuchTarget(of state.Ref, isContainer bool) error {
	var there []string
	for _, ref := range i.sortedRefs(of.App) {
		for _, name := range slices.Sorted(maps.Keys(i.apps[ref].services())) {
			there = append(there, of.App+"/"+name)
		}
	}
	switch {
	case isContainer:
		return fmt.Errorf("container %s offers no service of this name: say which port of it, %s 8080:80 or the like", of, of)
	case len(there) == 0:
		return fmt.Errorf("there is no service %s, and no container; app %s offers none", of, of.App)
	}
	return fmt.Errorf("there is no service %s, and no container; app %s offers %s", of, of.App, strings.Join(slices.Compact(there), ", "))
}

// portPair is a port here, 0 for any that is free, and one of the containers, 0 for that of the service.
type portPair struct{ local, remote int }

// parsePortPair reads [local:]port.
func parsePortPair(text string) (p portPair, err error) {
	local, remote, both := strings.Cut(text, ":")
	if !both {
		local, remote = "", text
	}
	wrong := usageError{fmt.Sprintf("%q is no port, and no local:port", text)}
	if p.remote, err = parsePort(remote); err != nil {
		return p, wrong
	}
	if local != "" {
		if p.local, err = parsePort(local); err != nil {
			return p, wrong
		}
	}
	return p, nil
}

func parsePort(text string) (int, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err == nil && port == 0 {
		err = strconv.ErrRange
	}
	return int(port), err
}
