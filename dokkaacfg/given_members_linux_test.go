//go:build faults

package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestHostsOfOnesOwnComeAndGo has machines join a cluster that speaks with certificates, and leave it
// with nothing of ours on them; loses what etcd has; then most machines.
func TestHostsOfOnesOwnComeAndGo(t *testing.T) {
	m := newMachines(t, "cfgownup", "10.131.4.0/24", 3)
	up := m.up()
	m.call(up[:3]...) // with the first machine
	m.call("apply", "-f", manifests)
	m.call(append([]string{"scale", "3"}, up[1:]...)...)
	m.crawls()
	const started = `docker ps -aq --filter label=dokkaa.app | xargs -r docker inspect --format '{{.ID}} {{.State.StartedAt}} {{.RestartCount}}'`
	running := func() (all string) {
		for _, machine := range m.machines {
			all += m.on(machine, started) + "\n"
		}
		return all
	}
	before := ""
	err := poll(t.Context(), time.Minute, func(context.Context) error {
		if before = running(); len(strings.Fields(before)) != 2*3 {
			return errors.New("hosts that joined still take their share: " + before)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	file := filepath.Join(t.TempDir(), "backup.json")
	m.call("backup", file)
	for _, machine := range m.machines {
		m.on(machine, "docker rm -f etcd; docker volume rm dokkaa-etcd")
	}
	t.Log(m.call("restore", file, "--yes"))
	m.crawls()
	if now := running(); now != before {
		t.Errorf("containers after the restore:\n%s\nand before:\n%s", now, before)
	}

	// Most members lose what they have.
	for _, machine := range m.machines[:2] {
		m.on(machine, "docker rm -f etcd; docker volume rm dokkaa-etcd")
	}
	t.Log(m.call("recover", "--yes"))
	m.crawls()
	if now := running(); now != before {
		t.Errorf("containers after the recovery:\n%s\nand before:\n%s", now, before)
	}
	if out := m.call("up", "--images="+builtImages); strings.Contains(out, "etcd started") {
		t.Errorf("the recovery left something to do:\n%s", out)
	}

	t.Log(m.call("scale", "2", "--yes"))
	if got := m.on(m.machines[2], leftOnHost); got != "" {
		t.Errorf("left on the host that went: %s", got)
	}
	m.machines = m.machines[:2]
	m.crawls()
	// One that is gone for good is taken out, too.
	if err := m.machines[1].PowerOff(t.Context()); err != nil {
		t.Fatal(err)
	}
	out := m.call("scale", "1", fmt.Sprintf("--remove=%s", m.machines[1].IP()), "--yes")
	if !strings.Contains(out, "it does not answer, and is removed as one that is lost") {
		t.Errorf("scale says:\n%s", out)
	}
	m.machines = m.machines[:1]
	m.crawls()
}
