package daemon

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// withoutPages refuses what a page in a browser on this host can send: requests that have an Origin,
// and requests by a name that the page has had resolve to this host (DNS rebinding). Callers from
// elsewhere may use a name, as those that collect metrics do; to them nothing is served that is for
// this host alone.
func withoutPages(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if origin := r.Header.Get("Origin"); origin != "" {
			http.Error(w, fmt.Sprintf("requests of pages of %s are not accepted", origin), http.StatusForbidden)
			return
		}
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if (err != nil || from.Addr().Unmap().IsLoopback()) && !isAddress(r.Host) {
			http.Error(w, fmt.Sprintf("this daemon is not called %q on its own host: use an IP address", r.Host), http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isAddress tells of the value of a Host header that nobody can have it resolve to another address.
func isAddress(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	_, err := netip.ParseAddr(name)
	return err == nil || strings.EqualFold(name, "localhost")
}
