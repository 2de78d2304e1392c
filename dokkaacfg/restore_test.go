package dokkaacfg

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/dokkaacfg/backup"
	"github.com/dokkaa/dokkaa/internal/state"
)

func TestKeysThatWouldBeLost(t *testing.T) {
	for key, want := range map[string]bool{
		"/apps/a/web/manifest": true, state.SecretKey("a", "b", 1): true, state.ConfigKey("a", "b", 1): true, "/mine": true,
		state.RegistryKey("ghcr.io"): true, state.SettingsKey: true,
		state.ClusterKey: false, state.SchedulerKey: false, "/dokkaa/events/1": false, state.HostLeaseKey("10.0.0.1"): false,
		state.RecordKey("a", "web", "i1"): false, state.LeavingKey("10.0.0.1"): false,
	} {
		if got := isUsers(key); got != want {
			t.Errorf("%s would be lost: %t", key, got)
		}
	}
}

// What is encrypted in a backup needs the key that it was encrypted with.
func TestRestoreWantsTheRightKey(t *testing.T) {
	for name, test := range map[string]struct {
		backup backup.Backup
		fails  bool
	}{
		"nothing sealed":              {backup.Backup{KeyDigest: "other", Keys: []backup.Key{{Key: "/apps/a/b/manifest"}}}, false},
		"a secret":                    {backup.Backup{KeyDigest: "other", Keys: []backup.Key{{Key: state.SecretKey("a", "b", 1)}}}, true},
		"a registry login":            {backup.Backup{KeyDigest: "other", Keys: []backup.Key{{Key: state.RegistryKey("ghcr.io")}}}, true},
		"a registry login, and a key": {backup.Backup{KeyDigest: "other", SecretKey: "key", Keys: []backup.Key{{Key: state.RegistryKey("ghcr.io")}}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newSession(t, &fakeProvider{keep: filepath.Join(t.TempDir(), "cluster")}, "")
			if _, err := ensureSecretKey(s.secretKeyFile()); err != nil {
				t.Fatal(err)
			}
			err := (&restoring{session: s, backup: test.backup}).checkSecretKey()
			if (err != nil) != test.fails || err != nil && !strings.Contains(err.Error(), "put the right one there") {
				t.Errorf("it says %v", err)
			}
		})
	}
}
