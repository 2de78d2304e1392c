package conductor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/internal/seal"
)

func TestCapacity(t *testing.T) {
	t.Parallel()
	for meminfo, want := range map[string]int64{
		"MemTotal:       24683672 kB\nMemFree:        21740192 kB\n": 24683672 << 10,
		"MemFree: 1 kB\n":     0,
		"MemTotal: lots kB\n": 0,
		"":                    0,
	} {
		if got := totalMemory(strings.NewReader(meminfo)); got != want {
			t.Errorf("%q: %d, want %d", meminfo, got, want)
		}
	}
	if cpus, memory := capacity(); cpus < 1 || memory < 64<<20 {
		t.Errorf("this machine has %v cores, %d bytes", cpus, memory)
	}
}

func TestSecretKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	settings := Settings{SecretKeyFile: filepath.Join(dir, "secret.key")}
	key := seal.NewKey()
	for _, test := range []struct{ content, wrong string }{
		{wrong: "dokkaacfg up puts it there"},
		{content: "hunter2", wrong: "is not a key"},
		{content: string(key.Encode())},
	} {
		if test.content != "" {
			if err := os.WriteFile(settings.SecretKeyFile, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := settings.secretKey()
		switch {
		case test.wrong == "" && (err != nil || got.IsZero()):
			t.Errorf("a good key: %v", err)
		case test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong) || !strings.Contains(err.Error(), settings.SecretKeyFile) || strings.Contains(err.Error(), "hunter2")):
			t.Errorf("%q: %v, want %q", test.content, err, test.wrong)
		}
	}
	settings.SecretKeyFile = dir // what Docker makes of a file that it was to mount and that is not there
	if _, err := settings.secretKey(); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a directory: %v", err)
	}
}
