package dokkaacfg

import (
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/internal/state"
)

// The shell is offered what there is in the cluster, and no files.
func TestCompletion(t *testing.T) {
	c := newTestCluster(t)
	c.put(state.Ref{App: "shop", Name: "web"}.ManifestKey(), `{"image": "x"}`, state.Ref{App: "blog", Name: "db"}.ManifestKey(), `{"image": "x"}`)
	const noFiles = ":4"
	for args, want := range map[string]string{
		"wait |":            "blog/db shop/web " + noFiles,
		"host drain |":      "10.101.0.1 10.101.0.2 " + noFiles,
		"host drain 10.1 |": noFiles,
		"status -o |":       "json yaml " + noFiles,
		"settings |":        noFiles,
	} {
		words := append([]string{"__complete"}, strings.Split(strings.TrimSuffix(args, "|"), " ")...)
		out := c.mustRun(words...)
		// The last line is about the directive, for people.
		lines := strings.Fields(strings.Split(out, "Completion ended")[0])
		if got := strings.Join(lines, " "); got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
	if out := c.mustRun("__complete", "config", "explain", ""); !strings.Contains(out, "\nupdate\n") {
		t.Errorf("config explain: %s", out)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out := c.mustRun("completion", shell); !strings.Contains(out, "__complete") {
			t.Errorf("%s: %s", shell, out)
		}
	}
}
