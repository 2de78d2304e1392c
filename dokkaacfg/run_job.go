package dokkaacfg

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strings"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// oneOff is the job that something is run by once.
type oneOff struct {
	ref      state.Ref
	manifest string
}

// borrowed are the fields of a container's manifest that a run of it has, too. What is not among them would
// have it serve, be checked, run elsewhere in time, or write to what belongs to another.
var borrowed = []string{"image", "entrypoint", "command", "env", "user", "working_dir", "labels", "pull", "links", "secrets", "configs",
	"constraints", "affinities", "resources", "stop_grace_period"}

// job is what becomes of the command line: of a container, if there is one of the name, else of an image.
func (c *runCommand) job(ctx context.Context, keys clusterKeys, env map[string]string) (oneOff, error) {
	fields := map[string]any{"image": c.Of}
	ref := state.Ref{App: c.App, Name: nameOfImage(c.Of)}
	if of, err := parseRef(c.Of); err == nil {
		app, err := readApp(ctx, keys, of)
		if err != nil {
			return oneOff{}, err
		}
		if app.manifest != nil {
			var all map[string]any
			if err := json.Unmarshal([]byte(app.manifest.Value), &all); err != nil {
				return oneOff{}, fmt.Errorf("the manifest of %s cannot be read: %w", of, err)
			}
			fields, ref = map[string]any{}, of
			for _, name := range borrowed {
				if value, there := all[name]; there {
					fields[name] = value
				}
			}
		}
	}
	ref.Name = shorten(ref.Name, 63-len("-run-")-runSuffix) + "-run-" + strings.ToLower(rand.Text()[:runSuffix])
	fields["mode"], fields["on_host_loss"] = "job", "fail"
	if args := commandOf(c.Args); len(args) > 0 {
		fields["command"] = args
	}
	if len(env) > 0 {
		merged, _ := fields["env"].(map[string]any)
		merged = maps.Clone(merged)
		if merged == nil {
			merged = map[string]any{}
		}
		for name, value := range env {
			merged[name] = value
		}
		fields["env"] = merged
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return oneOff{}, err
	}
	if _, err := manifest.ParseFor(ref.App, ref.Name, text); err != nil {
		return oneOff{}, fmt.Errorf("run %s: %w", c.Of, err)
	}
	return oneOff{ref, string(text)}, nil
}

// runSuffix is how many random characters a run's name has, of 32 each.
const runSuffix = 6

var notOfName = regexp.MustCompile(`[^a-z0-9]+`)

// nameOfImage makes a container's name of an image's.
func nameOfImage(image string) string {
	name := image[strings.LastIndex(image, "/")+1:]
	name, _, _ = strings.Cut(name, "@")
	name, _, _ = strings.Cut(name, ":")
	name = strings.Trim(notOfName.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if name == "" {
		return "image"
	}
	return name
}

func shorten(name string, most int) string {
	if len(name) > most {
		name = strings.TrimRight(name[:most], "-")
	}
	return name
}

// parseEnv reads NAME=value.
func parseEnv(variables []string) (map[string]string, error) {
	env := map[string]string{}
	for _, variable := range variables {
		name, value, ok := strings.Cut(variable, "=")
		if !ok || name == "" {
			return nil, usageError{fmt.Sprintf("--env=%s does not have the form NAME=value", variable)}
		}
		env[name] = value
	}
	return env, nil
}
