package engine

import "testing"

func TestSplitImage(t *testing.T) {
	for image, want := range map[string][2]string{
		"nginx":                              {"nginx", "latest"},
		"dockerfile/nginx:1.2":               {"dockerfile/nginx", "1.2"},
		"registry:5000/nginx":                {"registry:5000/nginx", "latest"},
		"registry:5000/a/nginx:1":            {"registry:5000/a/nginx", "1"},
		"nginx@sha256:abc":                   {"nginx@sha256:abc", ""},
		"registry:5000/nginx:1.2@sha256:abc": {"registry:5000/nginx:1.2@sha256:abc", ""},
	} {
		if repository, tag := splitImage(image); repository != want[0] || tag != want[1] {
			t.Errorf("%s: %q and %q, want %q", image, repository, tag, want)
		}
	}
}
