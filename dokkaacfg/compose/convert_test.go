package compose_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/dokkaacfg/compose"
	"github.com/dokkaa/dokkaa/manifest"
)

var update = flag.Bool("update", false, "write the golden files")

func TestConvert(t *testing.T) {
	t.Setenv("VERSION", "1.5")
	converted, err := compose.Convert(t.Context(), filepath.Join("testdata", "shop.yaml"), "")
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(converted.Bundle()); err != nil {
		t.Fatal(err)
	}
	golden(t, "shop.json", text.String())
	golden(t, "shop.notes", strings.Join(converted.Notes, "\n")+"\n")
	for name, manifests := range converted.Manifests {
		if _, err := manifest.ParseFor(converted.App, name, manifests); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is another:\n%s", name, got)
	}
}

func TestConvertService(t *testing.T) {
	tests := map[string]struct {
		service string // of the only one, s
		want    string // manifest
		notes   string
		fails   string
	}{
		"nothing but an image": {"image: x", `{"image":"x"}`, "", ""},
		"built":                {"build: .", `{"image":"app/s"}`, "s: nothing is built; build image app/s, and push it to a registry that the hosts reach, or load it on each", ""},
		"global":               {"{image: x, deploy: {mode: global}}", `{"image":"x","mode":"global"}`, "", ""},
		"stopped":              {"{image: x, scale: 0}", `{"image":"x","scale":0}`, "", ""},
		"pulled each time":     {"{image: x, pull_policy: always, hostname: h}", `{"image":"x","hostname":"h","pull":"always"}`, "", ""},
		"platform":             {"{image: x, platform: linux/arm64/v8}", `{"image":"x","constraints":["host.arch == arm64"]}`, "", ""},
		"a check of its own":   {"{image: x, healthcheck: {test: [CMD, /up], timeout: 1m}}", `{"image":"x","checks":[{"command":["/up"],"interval":"30s","timeout":"1m","type":"exec"}]}`, "", ""},
		"no check":             {"{image: x, healthcheck: {disable: true}}", `{"image":"x"}`, "s: healthcheck.disable is left out: without checks the image's own count, and its ports", ""},
		"not known here":       {"{image: x, pid: host, privileged: true}", `{"image":"x"}`, "s: pid is left out; s: privileged is left out: this version does not have it", ""},
		"a range of ports":     {"{image: x, ports: [\"8000-8001:80\"]}", `{"image":"x","services":{"s":80}}`, "s: port 80 is not published: 8000-8001 is not one port", ""},
		"a port of ours":       {"{image: x, ports: [\"4001:80\"]}", "", "", "services.s.host_port: "},
		"no Compose file":      {"{imagge: x}", "", "", "services.s.imagge"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "compose.yaml")
			if err := os.WriteFile(file, []byte("services:\n  s:\n    "+test.service+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			converted, err := compose.Convert(t.Context(), file, "app")
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("it says %v, want %q", err, test.fails)
				}
				return
			}
			if err != nil || string(converted.Manifests["s"]) != test.want || strings.Join(converted.Notes, "; ") != test.notes {
				t.Errorf("%v\n%s, want\n%s\n%q", err, converted.Manifests["s"], test.want, converted.Notes)
			}
		})
	}
}
