package dokkaacfg

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/internal/state"
)

// manifestTree makes files below a directory.
func manifestTree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWhoseManifestsAre(t *testing.T) {
	const one = `{"image": "x"}`
	dir := manifestTree(t, map[string]string{
		"shop/web.json": one, "shop/db.json": one, "shop/notes.txt": "", "shop/.hidden.json": "", "shop/blog/web.json": one, "shop/blog/deep/er.json": one,
		"two.json": `{"a/x": {"image": "x"}, "b/y": {"image": "y"}}`, "twice.json": `{"a/x": {"image": "x"}, "a/x": {"image": "y"}}`,
		"mixed.json": `{"a/x": {"image": "x"}, "image": "x"}`, "wrong.json": `{"image": "x", "scael": 2}`, "empty/README": "",
	})
	shop := state.Ref{App: "shop", Name: "web"}
	tests := map[string]struct {
		files manifestFiles
		input string
		want  string
		says  string
	}{
		"a file":               {files: manifestFiles{names: []string{"shop/web.json"}}, want: "shop/web"},
		"a file, app given":    {files: manifestFiles{names: []string{"shop/web.json"}, app: "other"}, want: "other/web"},
		"a file, named":        {files: manifestFiles{names: []string{"shop/db.json"}, ref: shop}, want: "shop/web"},
		"a directory":          {files: manifestFiles{names: []string{"shop"}}, want: "blog/web shop/db shop/web"},
		"a directory, renamed": {files: manifestFiles{names: []string{"shop/blog"}, app: "news"}, want: "news/er news/web"},
		"several":              {files: manifestFiles{names: []string{"two.json"}}, want: "a/x b/y"},
		"several files":        {files: manifestFiles{names: []string{"two.json", "shop/web.json"}}, want: "a/x b/y shop/web"},
		"piped":                {files: manifestFiles{names: []string{"-"}, ref: shop}, input: one, want: "shop/web"},
		"several piped":        {files: manifestFiles{names: []string{"-"}}, input: `{"a/x": {"image": "x"}}`, want: "a/x"},
		"piped for nobody":     {files: manifestFiles{names: []string{"-"}}, input: one, says: "dokkaacfg apply -f - <app>/<name> says it"},
		"several for one":      {files: manifestFiles{names: []string{"two.json"}, ref: shop}, says: "shop/web is one container, and 2 manifests are given"},
		"another's for one":    {files: manifestFiles{names: []string{"-"}, ref: shop}, input: `{"a/x": {"image": "x"}}`, says: "standard input says itself that it is the manifest of a/x, not of shop/web"},
		"twice in a file":      {files: manifestFiles{names: []string{"twice.json"}}, says: "a/x stands in"},
		"twice in two":         {files: manifestFiles{names: []string{"two.json", "two.json"}}, says: "b/y stands in"},
		"one and several":      {files: manifestFiles{names: []string{"mixed.json"}}, says: `"image" does not have the form <app>/<name>`},
		"wrong":                {files: manifestFiles{names: []string{"wrong.json", "two.json"}, app: "a"}, says: "scael: unknown field"},
		"no JSON":              {files: manifestFiles{names: []string{"-"}, ref: shop}, input: "image: x", says: "manifest shop/web in standard input is wrong"},
		"nothing":              {files: manifestFiles{names: []string{"empty"}}, says: "there is no file <name>.json in"},
		"no such file":         {files: manifestFiles{names: []string{"none.json"}}, says: "no such file"},
	}
	t.Chdir(dir)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			found, err := test.files.read(strings.NewReader(test.input))
			var refs []string
			for _, w := range found {
				refs = append(refs, w.ref.String())
			}
			if got := strings.Join(refs, " "); got != test.want || (err != nil) != (test.says != "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %q, %v; want %q, %q", got, err, test.want, test.says)
			}
		})
	}
}
