package explain_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/docs"
	"github.com/dokkaa/dokkaa/dokkaacfg/explain"
	"github.com/dokkaa/dokkaa/manifest"
)

func TestField(t *testing.T) {
	r := explain.Parse(docs.Manifest)
	tests := map[string]struct{ begins, has string }{
		"update.max_parallel": {"update.max_parallel (default: 1)\n    instances that are replaced at a time\n", `"max_parallel"`},
		"image":               {"image\n    the image, as docker run takes it. Changing it makes a new revision, and an update replaces the\n    containers.\n", `"image": "registry`},
		"services.web.port":   {"services.port\n    of the container. Changing", `"port": 8080`},
		"checks[0].interval":  {"checks.interval (default: \"10s\")\n    between two tries", ""},
		"env.HOME":            {"env\n    variables", "Those that links set"},
		"update":              {"Updates\n\nA change of what is marked", "update.canary (default: 0)"},
		"links":               {"Services and links\n\nservices are named ports", "links is a list of services"},
		"depends_on[1]":       {"Order of start\n\ndepends_on is a list", `{"container": "migrate"`},
		"resources":           {"Placement\n", "resources.memory (default: none)"},
		"volumes.data.path":   {"volumes.path\n    in the container", ""},
		"near":                {"near\n    names of containers", ""},
		"secrets":             {"Secrets and configs\n", "secrets.source"},
		"configs.content":     {"configs.content\n    one of them", ""},
		"log":                 {"", ""},
		"scael":               {"", ""},
	}
	for path, test := range tests {
		text, err := r.Field(path)
		if test.begins == "" {
			if err == nil || !strings.Contains(err.Error(), "there is no field "+path+"; there are affinities, apart,") {
				t.Errorf("%s: %v\n%s", path, err, text)
			}
			continue
		}
		if err != nil || !strings.HasPrefix(text, test.begins) || !strings.Contains(text, test.has) {
			t.Errorf("%s: %v\n%s", path, err, text)
		}
		if strings.Contains(text, "●") && !strings.Contains(text, "marked with ●") {
			t.Errorf("%s has marks of Markdown:\n%s", path, text)
		}
	}
}

// Every field that a manifest can have is told of.
func TestEveryField(t *testing.T) {
	m, err := manifest.Parse([]byte(`{"image": "x"}`))
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var written map[string]any
	if err := json.Unmarshal(data, &written); err != nil {
		t.Fatal(err)
	}
	r := explain.Parse(docs.Manifest)
	names := r.Fields()
	for name := range written {
		if _, err := r.Field(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	of := reflect.TypeFor[manifest.Manifest]()
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		if name == "" {
			continue
		}
		if text, err := r.Field(name); err != nil || strings.TrimSpace(text) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range names { // none is offered that is not there
		if _, err := manifest.Parse([]byte(`{"image": "x", "` + name + `": {"": []}}`)); err == nil || strings.Contains(err.Error(), name+": unknown field") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
