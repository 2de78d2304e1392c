package schedule

import (
	"strconv"
	"strings"

	"github.com/dokkaa/dokkaa/internal/state"
)

// versions are the newest versions of secrets and configs, by "<app>/<name>", and which there are.
type versions struct {
	secrets, configs map[string]map[int]bool
}

func newVersions() versions {
	return versions{secrets: map[string]map[int]bool{}, configs: map[string]map[int]bool{}}
}

// setVersion takes in that there is a version of a secret or config, or is none any more.
func (p *Planner) setVersion(key string, there bool) {
	all, rest := p.versions.secrets, strings.TrimPrefix(key, state.SecretsDir+"/")
	if rest == key {
		if all, rest = p.versions.configs, strings.TrimPrefix(key, state.ConfigsDir+"/"); rest == key {
			return
		}
	}
	parts := strings.Split(rest, "/")
	if len(parts) != 3 {
		return
	}
	version, err := strconv.Atoi(parts[2])
	if err != nil || version < 1 {
		return
	}
	name := parts[0] + "/" + parts[1]
	relate(all, name, version, there)
	for ref := range p.apps {
		if ref.App == parts[0] {
			p.dirty[ref] = true
		}
	}
}
