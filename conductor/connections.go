package conductor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/conductor/firewall"
)

// countTimeout is the deadline of a question to the firewall's container.
const countTimeout = 2 * time.Second

// connections is the answer to GET /connections?addr=172.30.0.5&port=80&port=443: how many are open
// to these ports of a container. The firewall's container gives it, for it takes its capability.
type connections struct {
	Established int `json:"established"`
}

// Routes serves what the conductor asks its firewall.
func (f *firewallDaemon) Routes(mux *http.ServeMux) {
	mux.Handle("GET /connections", countConnections(firewall.Connections))
}

func countConnections(count func(netip.Addr, []uint16) (int, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		addr, err := netip.ParseAddr(query.Get("addr"))
		if err != nil || !addr.Is4() {
			http.Error(w, "addr is not an IPv4 address", http.StatusBadRequest)
			return
		}
		var ports []uint16
		for _, text := range query["port"] {
			port, err := strconv.ParseUint(text, 10, 16)
			if err != nil || port == 0 {
				http.Error(w, "port is not a TCP port", http.StatusBadRequest)
				return
			}
			ports = append(ports, uint16(port))
		}
		n, err := count(addr, ports)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(connections{Established: n}) // who went away needs no answer
	}
}

// askConnections asks the firewall's container at the address how many connections are open to the
// ports of a container of this host.
func askConnections(ctx context.Context, firewall string, addr netip.Addr, ports []int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	query := url.Values{"addr": {addr.String()}}
	for _, port := range ports {
		query.Add("port", strconv.Itoa(port))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+firewall+"/connections?"+query.Encode(), http.NoBody)
	if err != nil {
		return 0, fmt.Errorf("ask the firewall for connections: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, fmt.Errorf("ask the firewall for connections: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	if err != nil {
		return 0, fmt.Errorf("ask the firewall for connections: %w", err)
	}
	var answer struct{ Established *int }
	if response.StatusCode != http.StatusOK || json.Unmarshal(body, &answer) != nil || answer.Established == nil {
		return 0, fmt.Errorf("ask the firewall for connections: %s: %s", response.Status, strings.TrimSpace(string(body)))
	}
	return *answer.Established, nil
}
