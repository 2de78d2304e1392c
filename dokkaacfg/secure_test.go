package dokkaacfg

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/dokkaacfg/certificates"
)

func now() time.Time { return time.Now() }

func newTestAuthorities(t *testing.T) certificates.Authorities {
	t.Helper()
	a, err := certificates.New("web", now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Each daemon has its own certificates and nobody else's, where there are any.
func TestDaemonsHaveCertificates(t *testing.T) {
	dir := t.TempDir()
	if err := newTestAuthorities(t).Write(dir); err != nil {
		t.Fatal(err)
	}
	secure, err := newDoors(dir)
	if err != nil {
		t.Fatal(err)
	}
	hosts := addrs("10.0.0.1", "10.0.0.2")
	wanted := map[string]string{
		"gateway":   "ETCD_ADDR=10.0.0.1:2379",
		"skydns":    "ETCD_MACHINES=http://127.0.0.1:4001,https://10.0.0.2:4001",
		"conductor": "ETCD_ADDR=http://127.0.0.1:4001,https://10.0.0.2:4001",
		etcdName:    "ETCD_PEER_CERT_ALLOWED_CN=etcd",
	}
	all := append(daemonsOf(hosts[0], hosts, hosts[:1], secure, keyFile{}, ""), etcdDaemon("web", hosts[0], secure.initialMembers(hosts[:1]), "new"))
	for _, d := range all {
		given := secure.give(d)
		if !slices.Contains(given.env, wanted[d.name]) && wanted[d.name] != "" {
			t.Errorf("%s: environment %q", d.name, given.env)
		}
		if plain := (doors{}).give(d); plain.digest("id") != d.digest("id") {
			t.Errorf("%s without certificates is another", d.name)
		}
		var tls []string
		for _, bind := range given.binds {
			if strings.Contains(bind, "/tls") {
				tls = append(tls, bind)
			}
		}
		if want := "/etc/dokkaa/tls/" + d.name + ":/etc/dokkaa/tls:ro"; d.name != "ambassador" && !slices.Equal(tls, []string{want}) || d.name == "ambassador" && len(tls) > 0 {
			t.Errorf("%s has %q", d.name, tls)
		}
		// Only etcd has to be started again to believe others.
		other := secure
		other.believed = "others"
		if again := other.give(d); (again.digest("id") != given.digest("id")) != (d.name == etcdName) {
			t.Errorf("%s with other authorities", d.name)
		}
	}
	if !strings.Contains(strings.Join(all[len(all)-1].once, " "), "https://10.0.0.1:2380") {
		t.Errorf("etcd is %q", all[len(all)-1].once)
	}
}
