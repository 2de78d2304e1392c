package digitalocean

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

//go:embed testdata/cloud-config.schema.json
var cloudConfigSchema []byte

// checkCloudConfig says what cloud-init itself would have against user data.
func checkCloudConfig(text string) error {
	if !strings.HasPrefix(text, "#cloud-config\n") {
		return fmt.Errorf("the first line does not say that it is cloud-config")
	}
	var value map[string]any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		return err
	}
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(cloudConfigSchema))
	if err != nil {
		return err
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("cloud-config.json", schema); err != nil {
		return err
	}
	compiled, err := compiler.Compile("cloud-config.json")
	if err != nil {
		return err
	}
	if err := compiled.Validate(value); err != nil {
		return err
	}
	// The schema lets keys pass that no module of cloud-init knows.
	var modules struct {
		Defs map[string]struct {
			Properties map[string]any
		} `json:"$defs"`
	}
	if err := json.Unmarshal(cloudConfigSchema, &modules); err != nil {
		return err
	}
	known := map[string]bool{}
	for name, module := range modules.Defs {
		if name == "base_config" || strings.HasPrefix(name, "cc_") {
			for key := range module.Properties {
				known[key] = true
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(value)) {
		if !known[key] {
			return fmt.Errorf("no module of cloud-init knows %s", key)
		}
	}
	return nil
}

func TestUserData(t *testing.T) {
	if err := checkCloudConfig(userData); err != nil {
		t.Error(err)
	}
	if len(userData) > 64<<10 {
		t.Errorf("it has %d bytes", len(userData))
	}
	for _, bad := range []string{
		"ssh_pwauth: false\n", "#cloud-config\nwrite_files:\n  - content: x\n", "#cloud-config\nruncmd: true\n", "#cloud-config\ncoreos: {}\n", "#cloud-config\n\tx\n",
	} {
		if checkCloudConfig(bad) == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

// TestUserDataIsTheSameForAll shows that nothing of the cluster, of the operator or of the account
// gets into it: whatever runs on a droplet can read it.
func TestUserDataIsTheSameForAll(t *testing.T) {
	bubble(t, func(t *testing.T, c cluster) {
		c.mustMake(t, 2)
		for _, d := range c.api.Droplets() {
			if d.Order.UserData != userData {
				t.Errorf("%s has %q", d.Name, d.Order.UserData)
			}
		}
	})
}
