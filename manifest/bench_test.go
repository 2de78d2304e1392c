package manifest_test

import (
	"encoding/json"
	"testing"

	"github.com/dokkaa/dokkaa/manifest"
)

// BenchmarkParse is of what the scheduler reads again and again: a small manifest as users write
// it, and as it stands in a revision.
func BenchmarkParse(b *testing.B) {
	small := []byte(`{"image": "dockerfile/nginx", "scale": 1, "services": {"nginx": 80}}`)
	m, err := manifest.Parse(small)
	if err != nil {
		b.Fatal(err)
	}
	canonical, err := json.Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	for name, text := range map[string][]byte{"small": small, "canonical": canonical, "everything": []byte(everything)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := manifest.Parse(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
