package digitalocean

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadToken(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	tests := map[string]struct {
		variable, file, token, says string
	}{
		"variable":       {"dop_v1_a\n", write("worse", "dop_v1_b", 0o644), "dop_v1_a", ""},
		"file":           {"", write("good", "dop_v1_b\n", 0o600), "dop_v1_b", ""},
		"read-only file": {"", write("better", "dop_v1_b\n", 0o400), "dop_v1_b", ""},
		"none":           {"", filepath.Join(dir, "none"), "", "set DIGITALOCEAN_ACCESS_TOKEN, or write it to " + dir + "/none with mode 0600"},
		"group's file":   {"", write("group", "dop_v1_b", 0o640), "", "can be read by others (mode 0640): chmod 600"},
		"everybody's":    {"", write("all", "dop_v1_b", 0o604), "", "(mode 0604)"},
		"empty":          {"", write("empty", " \n", 0o600), "", "is empty"},
		"directory":      {"", dir, "", "can be read by others"},
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			token, err := ReadToken(func(string) string { return test.variable }, test.file)
			if token != test.token || (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("it is %q, %v", token, err)
			}
			if err != nil && strings.Contains(err.Error(), "dop_v1") {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
}

func TestForeignToken(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test gives a file away, which takes root")
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("dop_v1_b"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, 12345, -1); err != nil {
		t.Fatal(err)
	}
	if token, err := ReadToken(func(string) string { return "" }, file); err == nil || !strings.Contains(err.Error(), "belongs to another user (12345)") {
		t.Errorf("it is %q, %v", token, err)
	}
}
