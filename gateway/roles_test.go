package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dokkaa/dokkaa/internal/certificate"
)

// asRole is a request of a holder's.
func asRole(role certificate.Role, name, method, target string) *http.Request {
	r := httptest.NewRequest(method, "https://10.0.0.1:4001"+target, http.NoBody)
	holder := &x509.Certificate{Subject: pkix.Name{CommonName: name}}
	if role != "" {
		holder.Subject.OrganizationalUnit = []string{string(role)}
	}
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{holder}}
	return r
}

func TestRoles(t *testing.T) {
	const own = "10.0.0.2"
	tests := []struct {
		role           certificate.Role
		method, target string
		may            bool
	}{
		{certificate.Operator, "PUT", "/v2/keys/apps/a/b/manifest", true},
		{certificate.Operator, "DELETE", "/v2/keys/?recursive=true", true},
		{certificate.Operator, "GET", "/v2/members", true},
		{certificate.Operator, "POST", "/v1/hosts/10.0.0.1/instances/i/exec", true},
		{certificate.Operator, "POST", "/v1/hosts/10.0.0.9/instances/i/exec", true},

		{certificate.Conductor, "GET", "/v2/keys/apps?recursive=true", true},
		{certificate.Conductor, "GET", "/v2/keys/apps/a/b/manifest", true},
		{certificate.Conductor, "GET", "/v2/keys/hosts?wait=true&recursive=true", true},
		{certificate.Conductor, "GET", "/v2/keys/dokkaa/secrets?recursive=true", true},
		{certificate.Conductor, "GET", "/v2/keys/?recursive=true", false},
		{certificate.Conductor, "GET", "/v2/keys/other", false},
		{certificate.Conductor, "GET", "/v2/keys/appsother", false},
		{certificate.Conductor, "PUT", "/v2/keys/hosts/10.0.0.2/lease", true},
		{certificate.Conductor, "PUT", "/v2/keys/hosts/10.0.0.3/lease", false},
		{certificate.Conductor, "DELETE", "/v2/keys/hosts/10.0.0.2/instances/i1", true},
		{certificate.Conductor, "DELETE", "/v2/keys/hosts/10.0.0.3/instances/i1", false},
		{certificate.Conductor, "PUT", "/v2/keys/hosts/10.0.0.2/availability", false},
		{certificate.Conductor, "PUT", "/v2/keys/skydns/local/skydns/a/web/i1", true},
		{certificate.Conductor, "PUT", "/v2/keys/skydns/local/skydns/a/web/udp/i1", true},
		{certificate.Conductor, "PUT", "/v2/keys/skydns/config", false},
		{certificate.Conductor, "PUT", "/v2/keys/apps/a/b/status", true},
		{certificate.Conductor, "PUT", "/v2/keys/apps/a/b/hosts/1?prevIndex=7", true},
		{certificate.Conductor, "PUT", "/v2/keys/apps/a/b/revisions/1", true},
		{certificate.Conductor, "PUT", "/v2/keys/apps/a/b/manifest", false},
		{certificate.Conductor, "PUT", "/v2/keys//apps/./a/b/manifest/", false},
		{certificate.Conductor, "POST", "/v2/keys/apps/a/b/manifest", false},
		{certificate.Conductor, "DELETE", "/v2/keys/apps/a/b/manifest", false},
		{certificate.Conductor, "DELETE", "/v2/keys/apps/a/b?dir=true", true},
		{certificate.Conductor, "DELETE", "/v2/keys/apps/a/b?recursive=true", false},
		{certificate.Conductor, "DELETE", "/v2/keys/apps/a?recursive=true&dir=true", false},
		{certificate.Conductor, "PUT", "/v2/keys/apps/a/b", false},
		{certificate.Conductor, "DELETE", "/v2/keys/apps/a/b/promote", true},
		{certificate.Conductor, "PUT", "/v2/keys/apps/a/b/promote", false},
		{certificate.Conductor, "PUT", "/v2/keys/dokkaa/secrets/a/b/1", false},
		{certificate.Conductor, "PUT", "/v2/keys/dokkaa/settings", false},
		{certificate.Conductor, "PUT", "/v2/keys/dokkaa/scheduler", true},
		{certificate.Conductor, "PUT", "/v2/keys/dokkaa/cluster?prevExist=false", true},
		{certificate.Conductor, "DELETE", "/v2/keys/dokkaa/cluster", false},
		{certificate.Conductor, "POST", "/v2/keys/dokkaa/events", true},
		{certificate.Conductor, "DELETE", "/v2/keys/dokkaa/events/17", true},
		{certificate.Conductor, "GET", "/v2/members", false},
		{certificate.Conductor, "GET", "/v1/hosts/10.0.0.1/instances/i/logs", false},
		{certificate.Conductor, "GET", "/healthz", true},

		{certificate.Skydns, "GET", "/v2/keys/skydns?recursive=true&wait=true", true},
		{certificate.Skydns, "GET", "/v2/keys/skydns/config", true},
		{certificate.Skydns, "GET", "/v2/keys/dokkaa/cluster?quorum=true", true},
		{certificate.Skydns, "GET", "/v2/keys/dokkaa/secrets?recursive=true", false},
		{certificate.Skydns, "GET", "/v2/keys/apps?recursive=true", false},
		{certificate.Skydns, "PUT", "/v2/keys/skydns/local/skydns/a/web/i1", false},
		{certificate.Skydns, "DELETE", "/v2/keys/skydns/local/skydns/a/web/i1", false},

		{certificate.Gateway, "POST", "/v1/hosts/10.0.0.1/instances/i/exec", true},
		{certificate.Gateway, "GET", "/v1/hosts/10.0.0.9/instances/i/logs", false},
		{certificate.Gateway, "GET", "/v2/keys/skydns", false},
		{certificate.Gateway, "PUT", "/v2/keys/apps/a/b/manifest", false},
		{certificate.Member, "GET", "/v2/keys/apps", false},
		{"", "GET", "/healthz", false},
	}
	for _, test := range tests {
		err := roles{"10.0.0.1"}.check(asRole(test.role, own, test.method, test.target))
		if (err == nil) != test.may {
			t.Errorf("role %q: %s %s: %v", test.role, test.method, test.target, err)
		}
		if err != nil && (!strings.Contains(err.Error(), string(test.role)) || !strings.Contains(err.Error(), own)) {
			t.Errorf("the refusal does not say whose: %v", err)
		}
	}
	if err := (roles{}).check(httptest.NewRequest("PUT", "http://127.0.0.1:4001/v2/keys/x", http.NoBody)); err != nil {
		t.Errorf("on the host itself: %v", err)
	}
}

// A host's certificate is of no use elsewhere.
func TestAHostsCertificateIsForThatHost(t *testing.T) {
	r := asRole(certificate.Conductor, "10.0.0.2", "GET", "/v2/keys/apps")
	r.TLS.PeerCertificates[0].IPAddresses = []net.IP{net.ParseIP("10.0.0.2").To4()}
	for remote, may := range map[string]bool{"10.0.0.2:34567": true, "[::ffff:10.0.0.2]:34567": true, "10.0.0.3:34567": false, "": false} {
		r.RemoteAddr = remote
		if err := (roles{"10.0.0.1"}).check(r); (err == nil) != may {
			t.Errorf("from %q: %v", remote, err)
		}
	}
}

// Nobody but the operator makes, changes or removes a manifest, however the path is written.
func TestOnlyTheOperatorWritesManifests(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		role := rapid.SampledFrom([]certificate.Role{certificate.Conductor, certificate.Skydns, certificate.Gateway, certificate.Member, ""}).Draw(t, "role")
		method := rapid.SampledFrom([]string{"PUT", "POST", "DELETE", "PATCH"}).Draw(t, "method")
		words := []string{"apps", "a", "b", "manifest", "hosts", "runs", "status", "", ".", "%2e", "%2F", "*", "**", "10.0.0.2", "skydns", "dokkaa"}
		parts := rapid.SliceOfN(rapid.SampledFrom(words), 0, 9).Draw(t, "path")
		query := rapid.SampledFrom([]string{"", "?dir=true", "?recursive=true", "?recursive=true&dir=true", "?prevExist=false"}).Draw(t, "query")
		r := asRole(role, "10.0.0.2", method, "/v2/keys/"+strings.Join(parts, "/")+query)
		if checkPath(r) != nil || (roles{"10.0.0.1"}).check(r) != nil {
			return
		}
		key := path.Join("/", strings.TrimPrefix(r.URL.Path, keysPath))
		has := strings.Split(key, "/")
		if len(has) >= 5 && has[1] == "apps" && has[4] == "manifest" {
			t.Fatalf("%s may %s %s", role, method, r.URL)
		}
		if method == "DELETE" && strings.Contains(query, "recursive") && len(has) < 5 {
			t.Fatalf("%s may %s %s, with the manifests in it", role, method, r.URL)
		}
	})
}
