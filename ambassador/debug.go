package ambassador

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/dokkaa/dokkaa/ambassador/identity"
	"github.com/dokkaa/dokkaa/ambassador/kernel"
	"github.com/dokkaa/dokkaa/ambassador/names"
)

// Routes serves what the ambassador knows and counts, to this host alone.
func (a *Ambassador) Routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/callers", forThisHost(func() any { return a.table() }))
	mux.HandleFunc("GET /v1/services", forThisHost(func() any { return a.ledger.Report(time.Now()) }))
}

// forThisHost serves as JSON what read returns, to callers of the loopback interface.
func forThisHost(read func() any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if from, err := netip.ParseAddrPort(r.RemoteAddr); err != nil || !from.Addr().Unmap().IsLoopback() {
			http.Error(w, "for this host only", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		_ = encoder.Encode(read()) // a reader that left needs no answer
	}
}

// table is what the ambassador knows: who may call, and what they reach.
type table struct {
	Error    string         `json:"error,omitempty"`  // why it may be old
	Callers  []tableCaller  `json:"callers"`          // by address
	Services []tableService `json:"services"`         // by name; those that somebody asked for
	Kernel   *kernel.Status `json:"kernel,omitempty"` // if it is to connect what it can
}

type tableCaller struct {
	Address   netip.Addr     `json:"address"`
	ID        string         `json:"id"`
	Container string         `json:"container"`
	Links     map[int]string `json:"links"`            // port -> DNS name
	Sticky    map[int]bool   `json:"sticky,omitempty"` // ports of those that are
}

type tableService struct {
	Name      string          `json:"name"`
	Fresh     bool            `json:"fresh"` // needs no question before the next connection
	Endpoints []tableEndpoint `json:"endpoints"`
}

type tableEndpoint struct {
	Address  netip.AddrPort `json:"address"`
	Priority uint16         `json:"priority"`
	Weight   uint16         `json:"weight"`
	Open     int            `json:"open"`      // connections
	SetAside bool           `json:"set_aside"` // it could not be dialled lately
}

func (a *Ambassador) table() table {
	t := table{Callers: tableOfCallers(a.callers.Rows()), Services: tableOfServices(a.names.Known()), Kernel: a.shortcut.status()}
	if err := a.Ready(); err != nil {
		t.Error = err.Error()
	}
	return t
}

func tableOfCallers(rows []identity.Row) []tableCaller {
	callers := make([]tableCaller, 0, len(rows))
	for _, row := range rows {
		callers = append(callers, tableCaller{Address: row.Address, ID: row.ID, Container: row.Name, Links: row.Links, Sticky: row.Sticky})
	}
	return callers
}

func tableOfServices(known map[string]names.Service) []tableService {
	rows := make([]tableService, 0, len(known))
	for name, k := range known {
		service := tableService{Name: name, Fresh: k.Fresh, Endpoints: []tableEndpoint{}}
		for _, e := range k.Status() {
			service.Endpoints = append(service.Endpoints, tableEndpoint{e.Addr, e.Priority, e.Weight, e.Open, e.SetAside})
		}
		rows = append(rows, service)
	}
	slices.SortFunc(rows, func(a, b tableService) int { return cmp.Compare(a.Name, b.Name) })
	return rows
}
