package gateway

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/dokkaa/dokkaa/internal/certificate"
	"github.com/dokkaa/dokkaa/internal/state"
)

// grant is something that a role may do with keys.
type grant struct {
	methods []string
	// keys have a "*" for any one name, a "." for the holder's own, and end with "**" for a directory and
	// all that is in it.
	keys string
}

var (
	reads   = []string{http.MethodGet, http.MethodHead}
	writes  = []string{http.MethodPut, http.MethodDelete}
	removes = []string{http.MethodDelete}
	appends = []string{http.MethodPost}
)

// grants are what roles other than the operator's may do with keys: what the daemons do. A manifest
// is written by none of them, nor a secret or a config. Directories are removed only when they are empty.
var grants = map[certificate.Role][]grant{
	certificate.Conductor: {
		{reads, state.AppsDir + "/**"},
		{reads, state.HostsDir + "/**"},
		{reads, "/skydns/**"},
		{reads, "/dokkaa/**"},
		// Of its own host.
		{writes, state.HostsDir + "/./lease"},
		{writes, state.HostsDir + "/./info"},
		{writes, state.HostsDir + "/./instances/*"},
		{writes, state.HostsDir + "/./volumes/*"},
		{writes, state.HostsDir + "/./removals/*"},
		{writes, state.HostsDir + "/./images/*"},
		{writes, state.RecordsDir + "/**"},
		// As the scheduler.
		{writes, state.AppsDir + "/*/*/status"},
		{writes, state.AppsDir + "/*/*/rollout"},
		{writes, state.AppsDir + "/*/*/scale"},
		{writes, state.AppsDir + "/*/*/hosts/*"},
		{writes, state.AppsDir + "/*/*/revisions/*"},
		{writes, state.AppsDir + "/*/*/runs/*"},
		{removes, state.AppsDir + "/*/*/promote"},
		{removes, state.AppsDir + "/*/*/restart"},
		{removes, state.AppsDir + "/*/*/hosts"},
		{removes, state.AppsDir + "/*/*/revisions"},
		{removes, state.AppsDir + "/*/*/runs"},
		{removes, state.AppsDir + "/*/*"},
		{removes, state.AppsDir + "/*"},
		{writes, state.SchedulerKey},
		{[]string{http.MethodPut}, state.ClusterKey},
		{appends, state.EventsDir},
		{removes, state.EventsDir + "/*"},
	},
	certificate.Skydns: {
		{reads, "/skydns/**"},
		{reads, state.ClusterKey},
	},
}

// roles decide what holders of certificates may do. Who came without one is on this host, or the
// cluster has none.
type roles struct {
	ip string // of this host
}

// check returns a refusal, or nil if the request may pass.
func (o roles) check(r *http.Request) error {
	if r.TLS == nil {
		return nil
	}
	if len(r.TLS.PeerCertificates) == 0 {
		return &refusal{http.StatusForbidden, "a certificate is needed here"}
	}
	holder := r.TLS.PeerCertificates[0]
	role := certificate.RoleOf(holder)
	if role == certificate.Operator {
		return nil
	}
	if !isFrom(holder, r.RemoteAddr) {
		return &refusal{http.StatusForbidden, fmt.Sprintf("the certificate of %s, with the role %q, is not good for who asks from %s", holder.Subject.CommonName, role, r.RemoteAddr)}
	}
	if mayPass(o.ip, holder, role, r) {
		return nil
	}
	return &refusal{http.StatusForbidden, fmt.Sprintf("role %q, which %s has, may not %s %s", role, holder.Subject.CommonName, r.Method, r.URL.Path)}
}

// isFrom tells whether who asks from there can be the holder, who is at the addresses in the certificate,
// if it has any.
func isFrom(holder *x509.Certificate, remote string) bool {
	from, err := netip.ParseAddrPort(remote)
	return len(holder.IPAddresses) == 0 || err == nil && slices.ContainsFunc(holder.IPAddresses, func(ip net.IP) bool {
		own, ok := netip.AddrFromSlice(ip)
		return ok && own.Unmap() == from.Addr().Unmap()
	})
}

func mayPass(ip string, holder *x509.Certificate, role certificate.Role, r *http.Request) bool {
	switch key, isKey := keyOf(r.URL.Path); {
	case role == "":
		return false
	case isKey:
		return mayTouch(role, holder.Subject.CommonName, r, key)
	case role == certificate.Gateway && ip != "" && strings.HasPrefix(r.URL.Path, "/v1/hosts/"+ip+"/"):
		return true // on behalf of somebody whose role it has looked at
	}
	return slices.Contains([]string{"/version", "/health", "/healthz", "/readyz", "/metrics"}, r.URL.Path)
}

func mayTouch(role certificate.Role, name string, r *http.Request, key string) bool {
	if r.Method == http.MethodDelete && r.URL.Query().Has("recursive") {
		return false
	}
	return slices.ContainsFunc(grants[role], func(g grant) bool {
		return slices.Contains(g.methods, r.Method) && matches(g.keys, name, key)
	})
}

// keyOf is the key that a path of the keys API is about, as etcd reads it.
func keyOf(urlPath string) (key string, ok bool) {
	if urlPath != keysPath && !strings.HasPrefix(urlPath, keysPath+"/") {
		return "", false
	}
	return path.Clean("/" + strings.TrimPrefix(urlPath, keysPath)), true
}

// matches tells whether the key is one of a grant to the holder of that name.
func matches(pattern, name, key string) bool {
	if dir, all := strings.CutSuffix(pattern, "/**"); all {
		return key == dir || strings.HasPrefix(key, dir+"/")
	}
	wanted, has := strings.Split(pattern, "/"), strings.Split(key, "/")
	if len(wanted) != len(has) {
		return false
	}
	for i, want := range wanted {
		if want == "." {
			want = name
		}
		if want != "*" && want != has[i] {
			return false
		}
	}
	return true
}
