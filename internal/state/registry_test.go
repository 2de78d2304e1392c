package state

import "testing"

func TestRegistryOf(t *testing.T) {
	t.Parallel()
	for image, want := range map[string]string{
		"nginx": DockerHub, "nginx:1.2": DockerHub, "dockerfile/nginx": DockerHub, "docker.io/library/nginx": DockerHub,
		"index.docker.io/shop/web@sha256:abc": DockerHub, "registry.example.com/web": "registry.example.com",
		"registry.example.com:5000/shop/web:1": "registry.example.com:5000", "localhost/web": "localhost", "10.0.0.1:5000/web": "10.0.0.1:5000",
		"registry/web": DockerHub, "registry:5000/web": "registry:5000",
	} {
		if got := RegistryOf(image); got != want {
			t.Errorf("%s is from %s, want %s", image, got, want)
		}
	}
}

func TestParseRegistry(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": DockerHub, "docker.io": DockerHub, "https://index.docker.io/v1/": DockerHub, "registry-1.docker.io": DockerHub, "registry.hub.docker.com": DockerHub,
		"registry.example.com": "registry.example.com", "https://registry.example.com/v2/": "registry.example.com", "http://10.0.0.1:5000": "10.0.0.1:5000",
		"localhost": "localhost", "registry:5000": "registry:5000",
		// No registry.
		"registry": "", "registry.example.com/web": "", "ann@example.com": "", "a b": "", "../x": "", "registry:": "", ".": "", "x:y:z": "",
	} {
		got, err := ParseRegistry(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v; want %q", text, got, err, want)
		}
	}
}
