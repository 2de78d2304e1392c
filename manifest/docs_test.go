package manifest_test

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/manifest"
)

// What the documentation shows as a manifest is one.
func TestDocumentedExamples(t *testing.T) {
	for file, least := range map[string]int{"../README.md": 2, "../docs/manifest.md": 15, "../docs/operations.md": 0} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		examples := 0
		for rest := string(data); ; examples++ {
			start := strings.Index(rest, `{"image"`)
			if start < 0 {
				break
			}
			dec := json.NewDecoder(strings.NewReader(rest[start:]))
			var example json.RawMessage
			if err := dec.Decode(&example); err != nil {
				t.Fatalf("%s: %v in %.60s…", file, err, rest[start:])
			}
			if _, err := manifest.Parse(example); err != nil {
				t.Errorf("%s: %s: %v", file, example, err)
			}
			rest = rest[start+int(dec.InputOffset()):]
		}
		if examples < least {
			t.Errorf("%s: found %d examples, there should be at least %d", file, examples, least)
		}
	}
}

// Every field that can be written is in the reference.
func TestEveryFieldIsDocumented(t *testing.T) {
	data, err := os.ReadFile("../docs/manifest.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []reflect.Type{reflect.TypeFor[manifest.Manifest](), reflect.TypeFor[manifest.Service](), reflect.TypeFor[manifest.Link](),
		reflect.TypeFor[manifest.Check](), reflect.TypeFor[manifest.Restart](), reflect.TypeFor[manifest.Disconnect](), reflect.TypeFor[manifest.Update](),
		reflect.TypeFor[manifest.Affinity](), reflect.TypeFor[manifest.Spread](), reflect.TypeFor[manifest.Resources](), reflect.TypeFor[manifest.Reservation](),
		reflect.TypeFor[manifest.Volume](), reflect.TypeFor[manifest.Dependency](), reflect.TypeFor[manifest.Secret](), reflect.TypeFor[manifest.Config]()} {
		for _, name := range jsonFields(of) {
			if !strings.Contains(string(data), "`"+name+"`") {
				t.Errorf("docs/manifest.md lacks `%s` of %s", name, of.Name())
			}
		}
	}
}
