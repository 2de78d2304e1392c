package hostapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/dokkaa/dokkaa/internal/stream"
)

const (
	// maxForwards is how many connections may be carried at a time.
	maxForwards = 256
	dialTimeout = 5 * time.Second
)

// forward connects the client to a port of an instance: of its container's own address, so it need not
// be published, and can be of no other.
func (a *API) forward(w http.ResponseWriter, r *http.Request) {
	port, err := strconv.ParseUint(r.URL.Query().Get("port"), 10, 16)
	if err != nil || port == 0 {
		http.Error(w, fmt.Sprintf("port: %q is no port", r.URL.Query().Get("port")), http.StatusBadRequest)
		return
	}
	c, ok := a.findRunning(w, r)
	if !ok || !upgrades(w, r) {
		return
	}
	if !c.Addr.IsValid() {
		http.Error(w, "instance "+c.Instance+" has no address", http.StatusConflict)
		return
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	backend, err := dialer.DialContext(r.Context(), "tcp", netip.AddrPortFrom(c.Addr, uint16(port)).String())
	if err != nil {
		http.Error(w, fmt.Sprintf("instance %s does not accept connections on port %d: %s", c.Instance, port, plainly(err)), http.StatusBadGateway)
		return
	}
	conn, err := upgrade(w)
	if err != nil {
		backend.Close()
		return
	}
	a.log.Debug("a connection is carried to an instance", "instance", c.Instance, "port", port, "for", whoAsks(r))
	a.carry(conn, backend.(*net.TCPConn))
}

// plainly is why a connection could not be made, without the addresses.
func plainly(err error) string {
	var network *net.OpError
	if errors.As(err, &network) {
		return network.Err.Error()
	}
	return err.Error()
}

// carry carries bytes both ways until both have ended, the client is gone, or the conductor ends.
func (a *API) carry(conn *stream.Conn, backend *net.TCPConn) {
	defer context.AfterFunc(a.life, conn.Close)()
	if err := stream.Carry(conn, backend); err != nil {
		a.log.Debug("a connection to an instance broke off", "err", err)
	}
}
