package provision

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// shell runs scripts on this machine, as on a host whose connection breaks off after so many bytes.
type shell struct{ carries int64 }

func (s shell) Run(ctx context.Context, script string, in io.Reader) (string, error) {
	command := exec.CommandContext(ctx, "sh", "-euc", script)
	command.Stdin = io.LimitReader(in, s.carries)
	var complaint bytes.Buffer
	command.Stderr = &complaint
	out, err := command.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, complaint.String())
	}
	return string(out), err
}

func TestWriteFile(t *testing.T) {
	const before, content = "{\"mtu\": 1400}\n", "{\"mtu\": 1400, \"name\": \"ü\"}\n"
	for name, test := range map[string]struct {
		carries int64
		want    string
	}{
		"all comes":      {1 << 20, content},
		"half of it":     {10, before},
		"nothing of it":  {0, before},
		"all but a byte": {int64(len(content)) - 1, before},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "below", "daemon.json")
			if did, err := writeFile(t.Context(), shell{1 << 20}, file, "600", before); err != nil || !did {
				t.Fatalf("at first: %t, %v", did, err)
			}
			did, err := writeFile(t.Context(), shell{test.carries}, file, "600", content)
			if wrote := test.want == content; did != wrote || (err == nil) != wrote {
				t.Errorf("written: %t, %v", did, err)
			}
			has, err := os.ReadFile(file)
			if err != nil || string(has) != test.want {
				t.Errorf("the file has %q, %v; want %q", has, err, test.want)
			}
			info, err := os.Stat(file)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			if left, _ := filepath.Glob(file + ".*"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if did, err := writeFile(t.Context(), shell{1 << 20}, file, "600", test.want); did || err != nil {
				t.Errorf("the same again: %t, %v", did, err)
			}
		})
	}
}
