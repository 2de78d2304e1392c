package dokkaacfg

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/internal/state"
)

const webManifest = `{"image": "x", "secrets": ["password"], "configs": [{"source": "site.conf", "path": "/etc/site.conf"}]}`

func TestSecretSet(t *testing.T) {
	c := newTestCluster(t)
	if _, err := c.run("hunter2", "secret", "set", "dummy/password"); err == nil || !strings.Contains(err.Error(), "dokkaacfg up makes it") {
		t.Errorf("without a key: %v", err)
	}
	if _, err := ensureSecretKey(filepath.Join(c.dir, secretKeyName)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for _, step := range []struct{ input, args, says string }{
		{"hunter2", "", "secret dummy/password is version 1 now\n"},
		{"hunter2", "", "secret dummy/password has this value already, as version 1\n"},
		{"ignored", "--file=" + file, "secret dummy/password is version 2 now\n"},
		{"hunter2", "", "secret dummy/password is version 3 now\n"},
	} {
		out, err := c.run(step.input, append([]string{"secret", "set", "dummy/password"}, strings.Fields(step.args)...)...)
		if err != nil || out != step.says {
			t.Errorf("set %s: %q, %v", step.args, out, err)
		}
		said.WriteString(out)
	}
	s, _ := newSession(t, &fakeProvider{keep: c.dir}, "")
	key, err := s.readSecretKey()
	if err != nil {
		t.Fatal(err)
	}
	for version, want := range map[int]string{1: "hunter2", 2: "correct horse\n", 3: "hunter2"} {
		stored := c.value(state.SecretKey("dummy", "password", version))
		if text, err := key.Open(stored, fmt.Sprintf("dummy/password/%d", version)); err != nil || string(text) != want {
			t.Errorf("version %d is %q, %v", version, text, err)
		}
		said.WriteString(stored)
	}
	said.WriteString(c.mustRun("secret", "ls") + c.mustRun("secret", "ls", "-o", "yaml"))
	if strings.Contains(said.String(), "hunter2") || strings.Contains(said.String(), "horse") {
		t.Errorf("the secret is shown: %s", &said)
	}
	// With another key, what is there cannot be compared, and counts on.
	if err := os.Remove(filepath.Join(c.dir, secretKeyName)); err != nil {
		t.Fatal(err)
	}
	if _, err := ensureSecretKey(filepath.Join(c.dir, secretKeyName)); err != nil {
		t.Fatal(err)
	}
	if out, err := c.run("hunter2", "secret", "set", "dummy/password"); err != nil || !strings.Contains(out, "version 4 now") {
		t.Errorf("with another key: %q, %v", out, err)
	}
}

func TestConfigCat(t *testing.T) {
	c := newTestCluster(t)
	for _, text := range []string{"one", "two"} {
		if _, err := c.run(text, "config", "set", "dummy/site.conf"); err != nil {
			t.Fatal(err)
		}
	}
	for of, want := range map[string]string{"dummy/site.conf": "two", "dummy/site.conf@1": "one"} {
		if got := c.mustRun("config", "cat", of); got != want {
			t.Errorf("%s is %q", of, got)
		}
	}
	c.fails("config dummy/site.conf has no version 3, but [1 2]", "config", "cat", "dummy/site.conf@3")
	c.fails("there is no config dummy/other; dokkaacfg config ls shows", "config", "cat", "dummy/other")
}

func TestWrongValues(t *testing.T) {
	s, _ := newSession(t, &fakeProvider{}, "")
	for _, text := range []string{"", "password", "dummy/", "dummy/a/b", "../x/y", "dummy/x@1", "dummy/_x", "any/x"} {
		var usage usageError
		if _, err := secrets.parse(text); !errors.As(err, &usage) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := secrets.text(s, ""); err == nil || !strings.Contains(err.Error(), "there is nothing in standard input") {
		t.Errorf("nothing: %v", err)
	}
	s.in = strings.NewReader(strings.Repeat("x", maxValueSize+1))
	if _, err := secrets.text(s, ""); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("too much: %v", err)
	}
	if _, err := secrets.text(s, "/nonexistent"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// The newest ten stay of those that no revision has; of the others, all.
func TestOldVersionsGo(t *testing.T) {
	c := newTestCluster(t)
	for n := 1; n <= 13; n++ {
		c.put(state.ConfigKey("dummy", "site.conf", n), fmt.Sprint(n))
	}
	c.put("/apps/dummy/web/revisions/1", `{"versions": {"configs": {"site.conf": 2}, "secrets": {"site.conf": 4}}}`,
		"/apps/dummy/pinned/manifest", `{"image": "x", "configs": [{"source": "site.conf@3", "path": "/x"}]}`,
		"/apps/other/web/revisions/1", `{"versions": {"configs": {"site.conf": 1}}}`,
		"/apps/dummy/broken/revisions/1", `garbage`)
	if _, err := c.run("14", "config", "set", "dummy/site.conf"); err != nil {
		t.Fatal(err)
	}
	if left := c.below("/dokkaa/configs/dummy/site.conf"); len(left) != 14 {
		t.Errorf("with a revision that cannot be read, left are %q", left)
	}
	c.delete("/apps/dummy/broken")
	if _, err := c.run("15", "config", "set", "dummy/site.conf"); err != nil {
		t.Fatal(err)
	}
	left := c.below("/dokkaa/configs/dummy/site.conf")
	if want := []string{"10", "11", "12", "13", "14", "15", "2", "3", "6", "7", "8", "9"}; !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}
}

func TestSecretRm(t *testing.T) {
	c := newTestCluster(t)
	c.put(state.SecretKey("dummy", "password", 1), "x", state.SecretKey("dummy", "password", 2), "x",
		"/apps/dummy/web/manifest", webManifest)
	rm := []string{"secret", "rm", "dummy/password", "--yes"}
	c.fails("secret dummy/password is used by dummy/web; --force removes it", rm...)
	c.put("/apps/dummy/web/manifest", `{"image": "x"}`, "/apps/dummy/web/hosts/1", slotOn1,
		"/apps/dummy/web/revisions/1", `{"versions": {"secrets": {"password": 2}}}`, "/apps/dummy/web/revisions/2", `{}`)
	c.fails("secret dummy/password is used by dummy/web (2);", rm...)
	if out := c.mustRun("secret", "ls", "dummy"); out != "SECRET          NEWEST  VERSIONS  USED BY\ndummy/password  2       1,2       dummy/web (2)\n" {
		t.Errorf("ls says\n%s", out)
	}
	// It is part of a revision's history only.
	c.delete("/apps/dummy/web/hosts/1")
	if _, err := c.run("dummy/password\n", rm[:3]...); err != nil {
		t.Error(err)
	}
	if left := c.below("/dokkaa"); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
	if out := c.mustRun("secret", "ls"); out != "No secrets.\n" {
		t.Errorf("ls says\n%s", out)
	}
	// A version that a revision has is never given to another value.
	if _, err := ensureSecretKey(filepath.Join(c.dir, secretKeyName)); err != nil {
		t.Fatal(err)
	}
	if out, err := c.run("new", "secret", "set", "dummy/password"); err != nil || !strings.Contains(out, "version 3 now") {
		t.Errorf("set again: %q, %v", out, err)
	}

	c.put("/apps/dummy/web/manifest", webManifest)
	out := c.mustRun(append(rm, "--force")...)
	if !strings.Contains(out, "To be removed: secret dummy/password, 1 version\n") || !strings.HasSuffix(out, "removed\n") {
		t.Errorf("it says\n%s", out)
	}
}
