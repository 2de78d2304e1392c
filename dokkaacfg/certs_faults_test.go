//go:build faults

package dokkaacfg

import (
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/dokkaacfg/certificates"
	"github.com/dokkaa/dokkaa/internal/vhost"
)

// TestNewAuthorities gives the hosts of a cluster new authorities under load.
func TestNewAuthorities(t *testing.T) {
	m := newMachines(t, "cfgtls", "10.130.0.0/24", 3)
	m.call(m.up()...)
	m.call("apply", "-f", manifests)
	m.crawls()
	m.rotates()
	m.changesAuthorities()
	m.refusesStrangers()
	m.opensKeys()
}

// opensKeys has a machine that is none of the cluster's reach the keys, until that is closed again.
func (m *machines) opensKeys() {
	m.Helper()
	outside := m.cluster.Machine(len(m.machines)+1, m.trees)
	if err := outside.PowerOn(m.Context(), vhost.MachineOptions{AuthorizedKeys: []string{m.key}}); err != nil {
		m.Fatal(err)
	}
	read := "GET https://" + m.machines[1].IP().String() + ":4001/v2/keys/apps?recursive=true"
	ask := func(own string) string {
		return askWith(m.T, outside, own, m.operatorFile(certificates.BelievedFile), read)
	}
	own := m.operatorFile(certificates.OperatorFile)
	if says := ask(own); strings.Contains(says, "nginx") {
		m.Errorf("before it is open: %s", says)
	}
	for _, args := range [][]string{append(m.up(), "--open-keys="+outside.IP().String()), m.up()} {
		m.call(args...)
		if says := ask(own); !strings.Contains(says, "dockerfile/nginx") {
			m.Errorf("open: %s", says)
		}
		if says := ask(""); !strings.Contains(says, "certificate required") {
			m.Errorf("open, without a certificate: %s", says)
		}
	}
	if line := m.call("curl", "/apps"); !strings.HasPrefix(line, "curl -L --cert ") {
		m.Errorf("the line is %s", line)
	}
	m.call(append(m.up(), "--close-keys")...)
	if says := ask(own); strings.Contains(says, "nginx") {
		m.Errorf("closed again: %s", says)
	}
}

// changesAuthorities gives the hosts new authorities. Only members of etcd are restarted for it.
func (m *machines) changesAuthorities() {
	m.Helper()
	own, ca := m.certificate(m.machines[1], "conductor/conductor.pem"), m.certificate(m.machines[1], "conductor/ca.pem")
	before := m.started()
	failed := m.load()
	m.Log(m.call("certs", "rotate", "--ca"))
	m.Logf("while authorities were changed, with no second try: %q", failed())
	if says := askWith(m.T, m.machines[1], own, ca, "GET https://"+m.machines[0].IP().String()+":4001/healthz"); !strings.Contains(says, "certificate") {
		m.Errorf("with the old certificate: %s", says)
	}
	now := strings.Split(m.started(), "\n")
	for n, line := range strings.Split(before, "\n") {
		if restarted := now[n] != line; restarted != strings.Contains(line, "/etcd ") {
			m.Errorf("%s, and now %s", line, now[n])
		}
	}
	if out := m.call("certs"); strings.Contains(out, "TROUBLE") || strings.Count(out, "authority") != 2 {
		m.Errorf("certs:\n%s", out)
	}
	m.crawls()
	for _, machine := range m.machines {
		if out := m.on(machine, "docker logs nginx-and-crawler---crawler 2>&1 | grep 'curl: (' || true"); out != "" {
			m.Errorf("the crawler on host %s says %s", machine.IP(), out)
		}
	}
}
