package gateway

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// refusal is why a request is not let through.
type refusal struct {
	status int
	reason string
}

func (r *refusal) Error() string { return r.reason }

// access decides which requests may pass.
//
// Whoever can write etcd runs anything on every host, and any page in a browser can make that
// browser send requests. A page gives itself away by its Origin; one that has had its name
// resolve to our address (DNS rebinding), by the name it calls us.
type access struct {
	names []string // that we may be called by, in lower case
}

func newAccess(names []string) access {
	a := access{names: []string{"localhost"}}
	for _, name := range names {
		a.names = append(a.names, strings.ToLower(strings.TrimSpace(name)))
	}
	return a
}

// check returns a refusal, or nil if the request may pass.
func (a access) check(r *http.Request) error {
	if !a.isOurs(r.Host) {
		return &refusal{http.StatusMisdirectedRequest, fmt.Sprintf(
			"this gateway is not called %q: use an IP address, or have the name added to GATEWAY_HOSTS", r.Host)}
	}
	for _, origin := range r.Header.Values("Origin") {
		if !isSameOrigin(origin, r) {
			return &refusal{http.StatusForbidden, fmt.Sprintf("requests of pages of %s are not accepted", origin)}
		}
	}
	return nil
}

func (a access) isOurs(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return slices.Contains(a.names, name)
}

func isSameOrigin(origin string, r *http.Request) bool {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	u, err := url.Parse(origin)
	return err == nil && u.Scheme == scheme &&
		strings.EqualFold(withPort(u.Host, scheme), withPort(r.Host, scheme))
}

// withPort adds the scheme's port where host names none.
func withPort(host, scheme string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	port := "80"
	if scheme == "https" {
		port = "443"
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

const keysPath = "/v2/keys"

// checkPath lets through what users and our daemons need of etcd, and nothing that would
// change the etcd cluster itself.
func checkPath(r *http.Request) error {
	path := r.URL.Path
	if slices.Contains(strings.Split(path, "/"), "..") {
		return &refusal{http.StatusBadRequest, "a path must not contain \"..\""}
	}
	var methods []string
	switch {
	case path == keysPath || strings.HasPrefix(path, keysPath+"/"):
		methods = []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete}
	case path == "/v2/members" || path == "/version" || path == "/health":
		methods = []string{http.MethodGet, http.MethodHead}
	default:
		return &refusal{http.StatusNotFound, fmt.Sprintf(
			"no %s here: the gateway serves %s, /v1/hosts, /v2/members, /version and /health", path, keysPath)}
	}
	if !slices.Contains(methods, r.Method) {
		return &refusal{http.StatusMethodNotAllowed, fmt.Sprintf("%s %s is not allowed", r.Method, path)}
	}
	return nil
}
