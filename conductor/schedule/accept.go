package schedule

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// accepted is what is in force of a container's manifest.
type accepted struct {
	*manifest.Manifest // nil if it was refused
	errors             []string
}

// accept validates all manifests, each alone and then against the others. A bad one hurts no
// other: where two containers of an app want the same service, the one that has it keeps it.
func accept(apps map[state.Ref]*App) map[state.Ref]accepted {
	result := map[state.Ref]accepted{}
	for ref, app := range apps {
		if app.Manifest != nil {
			result[ref] = parse(ref, app.Manifest.Text)
		}
	}
	checkOwners(apps, result)
	return result
}

// checkOwners refuses manifests that offer a service which another container of the app has.
// What is in force counts first, then age.
func checkOwners(apps map[state.Ref]*App, result map[state.Ref]accepted) {
	owners := map[string]state.Ref{} // of services, by "<app>/<service>"
	claim := func(ref state.Ref, m *manifest.Manifest) (refused []string) {
		for _, service := range slices.Sorted(maps.Keys(m.Services)) {
			owner, taken := owners[ref.App+"/"+service]
			if !taken {
				owners[ref.App+"/"+service] = ref
			} else if owner != ref {
				refused = append(refused, fmt.Sprintf("services.%s: container %q of the app offers a service of this name already", service, owner.Name))
			}
		}
		return refused
	}
	refs := byAge(apps)
	for _, ref := range refs {
		if m := inForce(apps[ref]); m != nil && apps[ref].Manifest != nil {
			claim(ref, m)
		}
	}
	for _, ref := range refs {
		a, ok := result[ref]
		if !ok || a.Manifest == nil {
			continue
		}
		if a.errors = claim(ref, a.Manifest); len(a.errors) > 0 {
			a.Manifest = nil
		}
		result[ref] = a
	}
}

func parse(ref state.Ref, text string) accepted {
	m, err := manifest.ParseFor(ref.App, ref.Name, []byte(text))
	var errs manifest.Errors
	if errors.As(err, &errs) {
		return accepted{errors: errs.Strings()}
	}
	return accepted{Manifest: m}
}

func byAge(apps map[state.Ref]*App) []state.Ref {
	created := func(ref state.Ref) uint64 {
		if m := apps[ref].Manifest; m != nil {
			return m.Created
		}
		return 0
	}
	return slices.SortedFunc(maps.Keys(apps), func(a, b state.Ref) int {
		return cmp.Or(cmp.Compare(created(a), created(b)), compareRefs(a, b))
	})
}

// inForce is the manifest of the newest revision, nil if there is none that can be read.
func inForce(app *App) *manifest.Manifest {
	r, found := app.Revisions[app.latest()]
	if !found {
		return nil
	}
	m, err := manifest.Parse(r.Manifest)
	if err != nil {
		return nil
	}
	return m
}

// newRevision is the revision that an accepted manifest makes.
func newRevision(m *manifest.Manifest, modified uint64) state.Revision {
	data, err := json.Marshal(m)
	if err != nil {
		panic(err) // a Manifest holds nothing that cannot be marshalled
	}
	return state.Revision{Manifest: data, Hash: m.RevisionHash(manifest.Versions{}), Modified: modified}
}

func compareRefs(a, b state.Ref) int {
	return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Name, b.Name))
}
