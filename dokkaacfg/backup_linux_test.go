package dokkaacfg

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/dokkaacfg/backup"
	"github.com/dokkaa/dokkaa/internal/etcdtest"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// What a backup has of one etcd, another gets, but for leases; and nobody else reads the file.
func TestBackup(t *testing.T) {
	c := newTestCluster(t)
	file := filepath.Join(t.TempDir(), "backup.json")
	c.fails("etcd has no /dokkaa/cluster", "backup", file)
	c.put(state.ClusterKey, "abc", "/apps/dummy/web/manifest", `{"image": "x"}`, "/own/key", "mine")
	manifest, err := c.keys.Get(t.Context(), "/apps/dummy/web/manifest")
	if err != nil {
		t.Fatal(err)
	}
	c.put("/apps/dummy/web/scale", asJSON(state.Scale{Scale: 3, Modified: manifest.Modified}))
	c.lease("10.101.0.1", `{}`)
	c.fails("cluster's key", "backup", file, "--with-key")
	if out := c.mustRun("backup", file); !strings.Contains(out, "5 keys of cluster test as of index") {
		t.Errorf("it says %s", out)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	b, err := readBackupFile(file)
	if err != nil {
		t.Fatal(err)
	}

	// Another etcd, which has seen more or less than the one before.
	other, err := store.New(store.Options{Endpoints: etcdtest.Start(t, 1).Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	for range 5 {
		if _, err := other.Set(t.Context(), "/own/before", "x", time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Replay(keyWriter{t.Context(), other}, func(k backup.Key) bool { return k.Key != state.ClusterKey }); err != nil {
		t.Fatal(err)
	}
	again, err := other.Get(t.Context(), "/apps/dummy/web/manifest")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"/apps/dummy/web/manifest": `{"image": "x"}`, "/own/key": "mine", "/own/before": "x",
		"/apps/dummy/web/scale": fmt.Sprintf(`{"modified":%d,"scale":3}`, again.Modified),
	}
	list, err := other.List(t.Context(), "/")
	if err != nil || len(list.Nodes) != len(want) || again.Modified == manifest.Modified {
		t.Errorf("%+v, %v", list, err)
	}
	for _, node := range list.Nodes {
		if node.Value != want[node.Key] {
			t.Errorf("%s is %s, want %s", node.Key, node.Value, want[node.Key])
		}
	}
}
