//go:build faults

package e2e

import (
	"os/exec"
	"strings"
	"testing"
)

// TestKeysOfDroplets opens the keys of droplets to this machine, reads and writes them by the line that
// dokkaacfg prints, and closes them again.
func TestKeysOfDroplets(t *testing.T) {
	o := newOperator(t, "dropkeys", "10.126.8.0/24")
	sh := func(line string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(line, "curl -L", "curl -L -sS --max-time 5", 1))
		cmd.Env = o.env
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	t.Log(o.call(append(upDroplets(1), "--open-keys=10.0.0.0/8", "--open-keys=172.16.0.0/12", "--open-keys-to-the-world")...))
	put, get := o.call("curl", "/test/key", "-XPUT", "-d", "value=it is"), o.call("curl", "/test/key")
	if out, err := sh(put); err != nil || !strings.Contains(out, `"value":"it is"`) {
		t.Errorf("%s: %s, %v", put, out, err)
	}
	if out, err := sh(get); err != nil || !strings.Contains(out, `"value":"it is"`) {
		t.Errorf("%s: %s, %v", get, out, err)
	}
	o.call(append(upDroplets(1), "--close-keys")...)
	if out, err := sh(get); err == nil {
		t.Errorf("closed again, %s gets %s", get, out)
	}
	line := o.call("curl", "/test/key")
	if !strings.HasPrefix(line, "ssh root@") {
		t.Errorf("closed, the line is %s", line)
	}
	o.call("down", "--yes")
}
