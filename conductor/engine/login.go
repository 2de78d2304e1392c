package engine

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	dockerclient "github.com/fsouza/go-dockerclient"

	"github.com/dokkaa/dokkaa/internal/state"
)

// Login is what a host shows a registry to get an image; the zero Login is none.
type Login struct{ Username, Password string }

// String hides the password from whoever prints it.
func (l Login) String() string { return fmt.Sprintf("(login of %s)", l.Username) }

// GoString hides the password from %#v.
func (l Login) GoString() string { return l.String() }

// LogValue hides the password from logs, whatever their form.
func (l Login) LogValue() slog.Value { return slog.StringValue(l.String()) }

// MarshalJSON hides the password from JSON.
func (l Login) MarshalJSON() ([]byte, error) { return json.Marshal(l.String()) }

func (l Login) forDocker(registry string) dockerclient.AuthConfiguration {
	if l == (Login{}) {
		return dockerclient.AuthConfiguration{}
	}
	return dockerclient.AuthConfiguration{Username: l.Username, Password: l.Password, ServerAddress: state.RegistryAddress(registry)}
}

// refusals are the words in which registries, through Docker, say that they want to know who asks, or
// that it is somebody else whom they give the image to.
var refusals = []string{"unauthorized", "no basic auth credentials", "authentication required", "denied", "incorrect username or password", "401 Unauthorized", "403 Forbidden"}

// explain says of a pull that a registry refused which one it was, and what to do.
func (l Login) explain(err error, image string) error {
	text := err.Error()
	if !slices.ContainsFunc(refusals, func(words string) bool { return strings.Contains(text, words) }) {
		return err
	}
	registry := state.RegistryOf(image)
	if l == (Login{}) {
		return fmt.Errorf("registry %s does not give it to everybody, and the cluster has no login there: dokkaacfg registry login %s (%w)", registry, registry, err)
	}
	return fmt.Errorf("registry %s does not give it to user %s, or the password has changed: dokkaacfg registry login %s (%w)", registry, l.Username, registry, err)
}
