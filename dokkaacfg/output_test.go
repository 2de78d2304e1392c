package dokkaacfg

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

func TestYAML(t *testing.T) {
	value := struct {
		Name   string            `json:"name"`
		Number int               `json:"number"`
		Env    map[string]string `json:"env"`
		List   []string          `json:"list"`
		None   *string           `json:"none"`
	}{"web-1", 3, map[string]string{"bool": "yes", "hour": "1:20", "number": "12", "empty": "", "text": "two words", "colon": "a: b", "lines": "a\nb"}, []string{"/bin/sh", "-c"}, nil}
	const want = `name: web-1
number: 3
env:
  bool: "yes"
  colon: "a: b"
  empty: ""
  hour: "1:20"
  lines: "a\nb"
  number: "12"
  text: two words
list:
  - /bin/sh
  - "-c"
none: null
`
	var out strings.Builder
	form := outputYAML
	if err := form.write(&out, value, nil); err != nil || out.String() != want {
		t.Errorf("%v\n%s, want\n%s", err, &out, want)
	}
	var again map[string]any
	if err := yaml.Unmarshal([]byte(out.String()), &again); err != nil || again["number"] != 3 {
		t.Errorf("read again: %v, %v", again, err)
	}
}
