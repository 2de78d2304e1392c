package provision

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

const (
	engineFile = "/etc/docker/daemon.json"
	// addedFile lists the settings in engineFile that are from us.
	addedFile = dir + "/engine-settings.json"
)

// engineSettings are those that a host needs, unless it has its own.
var engineSettings = map[string]any{
	"live-restore": true, // containers outlive the engine
	"log-driver":   "json-file",
	"log-opts":     map[string]any{"max-size": "10m", "max-file": "3"},
}

// configureEngine adds our settings to the engine's own. The engine is restarted when they changed;
// its containers live on, since the first thing that it is told is to let them.
func configureEngine(ctx context.Context, host Host, _ Facts, _ Wanted) (string, error) {
	has, added, swarm, err := readEngine(ctx, host)
	if err != nil {
		return "", err
	}
	merged, ours := mergeSettings(has, added, swarm)
	if reflect.DeepEqual(merged, has) {
		return "", start(ctx, host, "systemctl is-active --quiet docker || systemctl start docker")
	}
	// First whose they are: a list of more than there is does no harm.
	if _, err := writeFile(ctx, host, addedFile, "644", asJSON(ours)); err != nil {
		return "", err
	}
	if _, err := writeFile(ctx, host, engineFile, "644", asJSON(merged)); err != nil {
		return "", err
	}
	return "Docker Engine has " + strings.Join(ours, ", "), start(ctx, host, "systemctl reload docker || true; systemctl restart docker")
}

// mergeSettings adds our settings to those that there are, and returns the names of ours: those that
// were ours before, and those that were not set.
func mergeSettings(has map[string]any, added []string, swarm bool) (merged map[string]any, ours []string) {
	merged = maps.Clone(has)
	if merged == nil {
		merged = map[string]any{}
	}
	for _, name := range slices.Sorted(maps.Keys(engineSettings)) {
		_, set := has[name]
		_, otherDriver := has["log-driver"]
		switch {
		case set && !slices.Contains(added, name):
			continue // the operator's
		case name == "live-restore" && swarm:
			continue // an engine in swarm mode would not start
		case name == "log-opts" && otherDriver && !slices.Contains(added, "log-driver"):
			continue // they are about our driver
		}
		merged[name] = engineSettings[name]
		ours = append(ours, name)
	}
	return merged, ours
}

// restoreEngine takes our settings out of the engine's.
func restoreEngine(ctx context.Context, host Host) error {
	has, added, _, err := readEngine(ctx, host)
	if err != nil || len(added) == 0 {
		return err
	}
	left := maps.Clone(has)
	for _, name := range added {
		delete(left, name)
	}
	if reflect.DeepEqual(left, has) {
		return nil
	}
	if len(left) == 0 {
		_, err = host.Run(ctx, "rm -f "+engineFile, nil)
	} else {
		_, err = writeFile(ctx, host, engineFile, "644", asJSON(left))
	}
	if err != nil {
		return err
	}
	// Restarted before it would stop doing so: what else runs on it lives on.
	return start(ctx, host, "systemctl restart docker")
}

const readEngineScript = `
printf '{"settings": '; if [ -s %[1]s ]; then cat %[1]s; else echo '{}'; fi
printf ', "added": '; if [ -s %[2]s ]; then cat %[2]s; else echo '[]'; fi
printf ', "swarm": '
if [ -s /var/lib/docker/swarm/docker-state.json ]; then echo true; else echo false; fi
echo '}'
`

func readEngine(ctx context.Context, host Host) (settings map[string]any, added []string, swarm bool, err error) {
	out, err := host.Run(ctx, fmt.Sprintf(readEngineScript, engineFile, addedFile), nil)
	if err != nil {
		return nil, nil, false, fmt.Errorf("read settings of Docker: %w", err)
	}
	var read struct {
		Settings map[string]any
		Added    []string
		Swarm    bool
	}
	if err := json.Unmarshal([]byte(out), &read); err != nil {
		return nil, nil, false, fmt.Errorf("read settings of Docker (%s): %w", engineFile, err)
	}
	return read.Settings, read.Added, read.Swarm, nil
}

// start runs a command that starts the engine, and waits until that answers.
func start(ctx context.Context, host Host, command string) error {
	_, err := host.Run(ctx, command+`
for try in $(seq 60); do
	docker -H unix:///var/run/docker.sock version >/dev/null 2>&1 && exit 0
	sleep 0.5
done
systemctl status --no-pager --lines=5 docker >&2
exit 1`, nil)
	if err != nil {
		return fmt.Errorf("start Docker: %w", err)
	}
	return nil
}

func asJSON(value any) string {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		panic(err) // the values are strings, lists and maps of them
	}
	return string(data) + "\n"
}
