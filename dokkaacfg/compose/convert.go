// Package compose makes manifests of a Compose file, and says what of it no manifest can carry.
package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/sirupsen/logrus"

	"github.com/dokkaa/dokkaa/manifest"
)

// Result is what became of a Compose file.
type Result struct {
	App       string
	Manifests map[string]json.RawMessage // by the container's name
	Notes     []string                   // what was left out, or has to be done by hand, a sentence each
}

// Bundle is all manifests in the form in which one file holds several: under the keys <app>/<name>.
func (r Result) Bundle() map[string]json.RawMessage {
	all := map[string]json.RawMessage{}
	for name, text := range r.Manifests {
		all[r.App+"/"+name] = text
	}
	return all
}

// Convert reads a Compose file as docker compose does, with .env beside it and the environment, and
// makes a manifest of each of its services. An app of "" is named after the file's project. It fails
// if the file is no Compose file, or if a service makes no manifest that is right.
func Convert(ctx context.Context, file, app string) (Result, error) {
	// The library logs what it finds odd; what matters of it is in the notes.
	defer func(to io.Writer) { logrus.SetOutput(to) }(logrus.StandardLogger().Out)
	logrus.SetOutput(io.Discard)
	options, err := cli.NewProjectOptions([]string{file}, cli.WithWorkingDirectory(filepath.Dir(file)), cli.WithOsEnv,
		cli.WithEnvFiles(), cli.WithDotEnv, cli.WithResolvedPaths(true))
	if err != nil {
		return Result{}, fmt.Errorf("read Compose file: %w", err)
	}
	project, err := options.LoadProject(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("read Compose file: %w", err)
	}
	c := newConversion(project, app)
	return c.result()
}

// conversion is the making of manifests of a project.
type conversion struct {
	project *types.Project
	app     string
	names   map[string]string // of containers, by service
	ports   map[string][]int  // that a service of the project listens on, by its name there
	jobs    map[string]bool   // services that others wait for the end of
	notes   []string
}

func newConversion(project *types.Project, app string) *conversion {
	c := &conversion{project: project, app: app, names: map[string]string{}, ports: map[string][]int{}, jobs: map[string]bool{}}
	if c.app == "" {
		c.app = label(project.Name)
	}
	for _, name := range project.ServiceNames() {
		if c.names[name] = label(name); c.names[name] != name {
			c.note("%s: is named %s, as names are lower-case letters, digits and hyphens", name, c.names[name])
		}
	}
	for _, name := range project.ServiceNames() {
		c.surveyPorts(project.Services[name])
		for other, dependency := range project.Services[name].DependsOn {
			if dependency.Condition == types.ServiceConditionCompletedSuccessfully {
				c.jobs[other] = true
			}
		}
	}
	return c
}

// label makes a DNS label of a name.
func label(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z' || '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, name)
	for strings.Contains(name, "---") { // parts the container's own name
		name = strings.ReplaceAll(name, "---", "--")
	}
	return strings.Trim(name[:min(len(name), 63)], "-")
}

func (c *conversion) note(format string, args ...any) {
	if note := fmt.Sprintf(format, args...); !slices.Contains(c.notes, note) {
		c.notes = append(c.notes, note)
	}
}

// result makes the manifests, and checks them.
func (c *conversion) result() (Result, error) {
	all := map[string]json.RawMessage{}
	var wrong []error
	for _, name := range c.project.ServiceNames() {
		service := c.project.Services[name]
		c.noteTheRest(service)
		text, err := marshal(c.draft(service))
		if err != nil {
			return Result{}, fmt.Errorf("convert %s: %w", name, err)
		}
		if _, err := manifest.ParseFor(c.app, c.names[name], text); err != nil {
			wrong = append(wrong, fmt.Errorf("convert %s: %w", name, err))
		}
		all[c.names[name]] = text
	}
	for _, name := range slices.Sorted(maps.Keys(c.project.DisabledServices)) {
		c.note("%s: is left out, as none of its profiles is on (COMPOSE_PROFILES)", name)
	}
	if len(all) == 0 {
		wrong = append(wrong, errors.New("convert: there is no service in the file"))
	}
	return Result{App: c.app, Manifests: all, Notes: c.notes}, errors.Join(wrong...)
}

// marshal writes a draft without making \u0026 of an ampersand.
func marshal(d draft) (json.RawMessage, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(d); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(text.Bytes()), nil
}

// relative is a file's name as seen from where the user is.
func relative(file string) string {
	here, err := os.Getwd()
	if err != nil {
		return file
	}
	short, err := filepath.Rel(here, file)
	if err != nil || strings.HasPrefix(short, "..") {
		return file
	}
	return short
}
