package dokkaacfg

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

const (
	dbVolume  = "dummy---db---data"
	dbContent = `{"app": "dummy", "name": "db", "slot": 1, "volume": "data", "driver": "local"}`
)

func TestVolumeRm(t *testing.T) {
	c := newTestCluster(t)
	c.lease("10.101.0.1", `{}`)
	key, removal := state.VolumeKey("10.101.0.1", dbVolume), state.RemovalKey("10.101.0.1", dbVolume)
	c.fails("host 10.101.0.1 has no volume "+dbVolume, "volume", "rm", "10.101.0.1", dbVolume, "--yes")
	c.put(key, dbContent, "/apps/dummy/db/hosts/1", slotOn1)
	c.fails("volume "+dbVolume+" is used by dummy/db 1;", "volume", "rm", "10.101.0.1", dbVolume, "--yes", "--force")
	c.delete("/apps/dummy/db/hosts/1")

	var usage usageError
	if out, err := c.run("", "volume", "rm", "10.101.0.1", dbVolume); !errors.As(err, &usage) || !strings.Contains(out, "with its data: volume "+dbVolume+" of dummy/db on host 10.101.0.1\n") || c.value(removal) != "(none)" {
		t.Errorf("without consent: %v\n%s", err, out)
	}
	done := make(chan string)
	go func() { done <- c.mustRun("volume", "rm", "10.101.0.1", dbVolume, "--yes") }()
	c.eventually(removal, "")
	c.put(removal, `{"reason": "container other uses it"}`)
	time.Sleep(2 * followInterval)
	c.delete(key, removal)
	if out := <-done; !strings.Contains(out, "it is still there: container other uses it (") || !strings.Contains(out, "removed (") {
		t.Errorf("it says\n%s", out)
	}

	c.put(key, dbContent)
	c.fails("host 10.101.0.1 has not removed volume "+dbVolume+" within 1ms: it says nothing\nThe request stays", "volume", "rm", "10.101.0.1", dbVolume, "--yes", "--timeout=1ms")
	if c.value(removal) == "(none)" {
		t.Error("the request is gone")
	}
}

func TestVolumeRmOnLostHost(t *testing.T) {
	c := newTestCluster(t)
	key, removal := state.VolumeKey("10.101.0.1", dbVolume), state.RemovalKey("10.101.0.1", dbVolume)
	c.put(key, dbContent, removal, "", "/apps/dummy/db/hosts/1", slotOn1)
	c.fails("host 10.101.0.1 is lost, nobody can remove its volumes. --force forgets the volume: what waits for it (dummy/db 1) then", "volume", "rm", "10.101.0.1", dbVolume, "--yes")
	if c.value(key) != dbContent {
		t.Error("the volume is gone")
	}
	out := c.mustRun("volume", "rm", "10.101.0.1", dbVolume, "--yes", "--force")
	if !strings.Contains(out, "The data stays on the host") || !strings.Contains(out, "dummy/db 1 may then start elsewhere with an empty volume") {
		t.Errorf("it says\n%s", out)
	}
	if c.value(key) != "(none)" || c.value(removal) != "(none)" {
		t.Errorf("volume %s, removal %s", c.value(key), c.value(removal))
	}
}

func TestVolumeLs(t *testing.T) {
	c := newTestCluster(t)
	c.put(state.VolumeKey("10.101.0.1", dbVolume), dbContent,
		state.VolumeKey("10.101.0.2", "shop---files---x"), `{"app": "shop", "name": "files", "volume": "x", "driver": "nfs"}`)
	for what, want := range map[string][2]bool{"": {true, true}, "dummy": {true, false}, "dummy/db": {true, false}, "shop/files": {false, true}, "shop/db": {}} {
		out := c.mustRun(append([]string{"volume", "ls"}, strings.Fields(what)...)...)
		if strings.Contains(out, dbVolume) != want[0] || strings.Contains(out, "shop---files---x") != want[1] {
			t.Errorf("of %q:\n%s", what, out)
		}
	}
	if out := c.mustRun("volume", "ls", "--output=json"); !strings.Contains(out, `"docker_name": "dummy---db---data"`) || !strings.Contains(out, `"name": "db"`) {
		t.Errorf("as JSON:\n%s", out)
	}
}
