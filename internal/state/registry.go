package state

import (
	"fmt"
	"regexp"
	"strings"
)

// RegistriesDir is the directory of the Registries that the cluster has a login for.
const RegistriesDir = "/dokkaa/registries"

// DockerHub is the registry of images whose names name none.
const DockerHub = "docker.io"

// Registry is a login at a registry, which every host pulls its images with.
type Registry struct {
	Username string `json:"username"`
	Password string `json:"password"` // sealed with the cluster's key under RegistrySealName
}

// RegistryKey is the key of a Registry.
func RegistryKey(registry string) string { return RegistriesDir + "/" + registry }

// RegistrySealName is what the password is sealed under: it can't be put beside another user's name or
// another registry's, which would be told it.
func RegistrySealName(registry, username string) string {
	return "registry:" + registry + "/" + username
}

// hubNames are what people call Docker Hub, and what it is called where one logs in.
var hubNames = []string{"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com"}

// RegistryOf is the registry that an image is from, as in its name: its host, with the port if it has
// one.
func RegistryOf(image string) string {
	host, _, found := strings.Cut(image, "/")
	if !found || !strings.ContainsAny(host, ".:") && host != "localhost" {
		return DockerHub
	}
	return registryName(host)
}

var registryForm = regexp.MustCompile(`^([a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?$`)

// ParseRegistry reads what a person calls a registry: its host, or a URL of it. "" is Docker Hub.
func ParseRegistry(text string) (string, error) {
	host := text
	for _, scheme := range []string{"https://", "http://"} {
		host = strings.TrimPrefix(host, scheme)
	}
	for _, api := range []string{"/", "/v1", "/v2"} {
		host = strings.TrimSuffix(host, api)
	}
	switch {
	case host == "":
		return DockerHub, nil
	case !registryForm.MatchString(host):
		return "", fmt.Errorf("%q is not a registry: want its host, such as registry.example.com or registry.example.com:5000", text)
	case registryName(host) != DockerHub && RegistryOf(host+"/image") != host:
		return "", fmt.Errorf("%q is not a registry: in an image's name, %s/… is a repository of Docker Hub, which is %s", text, host, DockerHub)
	}
	return registryName(host), nil
}

func registryName(host string) string {
	for _, name := range hubNames {
		if host == name {
			return DockerHub
		}
	}
	return host
}

// RegistryAddress is what Docker Engine calls a registry.
func RegistryAddress(registry string) string {
	if registry == DockerHub {
		return "https://index.docker.io/v1/"
	}
	return registry
}
