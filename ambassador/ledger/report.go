package ledger

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Report is what one ambassador has seen of each service, for those who scale them. Its fields
// keep their names and meanings; counters grow from Since on, when the ambassador started.
type Report struct {
	Since    time.Time       `json:"since"`
	Now      time.Time       `json:"now"`
	Services []ServiceReport `json:"services"` // by app and name
}

// ServiceReport is about one service.
type ServiceReport struct {
	App     string `json:"app"`
	Service string `json:"service"`

	Open    int64  `json:"open"`    // connections that are open
	Waiting int64  `json:"waiting"` // those that wait for a backend
	Opened  uint64 `json:"opened"`  // connections that a backend accepted, a counter as all below
	Refused uint64 `json:"refused"` // those that were refused
	Up      uint64 `json:"up"`      // bytes to backends
	Down    uint64 `json:"down"`    // bytes from backends

	Backends []BackendReport `json:"backends,omitempty"` // by address
}

// BackendReport is about one backend of a service.
type BackendReport struct {
	Address string `json:"address"`
	Open    int64  `json:"open"`
	Opened  uint64 `json:"opened"`
	Failed  uint64 `json:"failed"` // connections that it did not accept
	Up      uint64 `json:"up"`
	Down    uint64 `json:"down"`
}

// Report reads the ledger.
func (l *Ledger) Report(now time.Time) Report {
	report := Report{Since: l.began, Now: now, Services: []ServiceReport{}}
	for _, s := range l.all() {
		report.Services = append(report.Services, s.report())
	}
	return report
}

func (s *Service) report() ServiceReport {
	refused, total, backends := s.read()
	r := ServiceReport{App: s.app, Service: s.name, Waiting: s.waiting.Load()}
	for _, n := range refused {
		r.Refused += n
	}
	for _, b := range backends {
		one := BackendReport{Address: b.name, Open: b.Open(), Opened: b.allOpened(), Failed: b.failed.Load(), Up: b.up.Load(), Down: b.down.Load()}
		r.Open += one.Open
		total.add(b)
		r.Backends = append(r.Backends, one)
	}
	r.Opened, r.Up, r.Down = total.opened, total.up, total.down
	return r
}

// all returns the services by app and name.
func (l *Ledger) all() []*Service {
	l.mu.RLock()
	services := slices.Collect(maps.Values(l.services))
	l.mu.RUnlock()
	slices.SortFunc(services, func(a, b *Service) int {
		return cmp.Or(cmp.Compare(a.app, b.app), cmp.Compare(a.name, b.name))
	})
	return services
}

// read returns what the service has: refusals by reason, the sums of backends that were dropped, and
// the others, by name.
func (s *Service) read() (refused map[string]uint64, past sums, backends []*Backend) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	backends = slices.Collect(maps.Values(s.backends))
	if s.others != nil {
		backends = append(backends, s.others)
	}
	slices.SortFunc(backends, func(a, b *Backend) int { return cmp.Compare(a.name, b.name) })
	return maps.Clone(s.refused), s.past, backends
}
