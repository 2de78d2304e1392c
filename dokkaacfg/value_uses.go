package dokkaacfg

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// valueUses is who refers to a secret or config.
type valueUses struct {
	by       map[string]int // containers whose manifest or running revision names it: which version, 0 if that is not known
	versions map[int]bool   // that a manifest or a kept revision has
	// unreadable says why there may be more.
	unreadable string
}

// appUses are the uses of an app's secrets or configs, by name.
type appUses struct {
	names      map[string]valueUses
	unreadable string
}

func (a appUses) of(name string) valueUses {
	uses := a.names[name]
	uses.unreadable = a.unreadable
	return uses
}

func (u valueUses) has(version int) bool { return u.versions[version] }

func (u valueUses) newest() int { return slices.Max(append(slices.Collect(maps.Keys(u.versions)), 0)) }

func (u valueUses) text() []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(u.by)) {
		if version := u.by[name]; version > 0 {
			name += fmt.Sprintf(" (%d)", version)
		}
		all = append(all, name)
	}
	return all
}

// uses tells who in the app, whose secrets or configs these are, refers to each of them.
func (k valueKind) uses(ctx context.Context, keys clusterKeys, app string) (appUses, error) {
	listing, err := keys.List(ctx, state.AppsDir+"/"+app)
	if err != nil {
		return appUses{}, err
	}
	return k.usesIn(newInventory(nil, nil, listing.Nodes)), nil
}

func (k valueKind) usesIn(all inventory) appUses {
	found := appUses{names: map[string]valueUses{}}
	use := func(name string, version int, by string) {
		u, known := found.names[name]
		if !known {
			u = valueUses{by: map[string]int{}, versions: map[int]bool{}}
			found.names[name] = u
		}
		u.versions[version] = true
		if by != "" {
			u.by[by] = version
		}
	}
	var unreadable []string
	for _, ref := range slices.SortedFunc(maps.Keys(all.apps), compareRefs) {
		app := all.apps[ref]
		unreadable = append(unreadable, app.unreadable...)
		// One that is refused names nothing: what is in force is in the revisions.
		if m := app.parsedManifest(); m != nil {
			for name, version := range k.of(m) {
				use(name, version, ref.String())
			}
		}
		running := app.runningRevisions()
		for _, n := range slices.Sorted(maps.Keys(app.revisions)) {
			by := ""
			if running[n] {
				by = ref.String()
			}
			for source, version := range k.versions(app.revisions[n].Versions) {
				name, _, _ := strings.Cut(source, "@")
				use(name, version, by)
			}
		}
	}
	found.unreadable = strings.Join(unreadable, "; ")
	return found
}

// parsedManifest is the manifest that the user wrote, nil if there is none or it is refused.
func (a *appKeys) parsedManifest() *manifest.Manifest {
	if a.manifest == nil {
		return nil
	}
	m, err := manifest.Parse([]byte(a.manifest.Value))
	if err != nil {
		return nil
	}
	return m
}

// runningRevisions are those that slots have, and the newest while there is a manifest.
func (a *appKeys) runningRevisions() map[int]bool {
	running := map[int]bool{}
	for _, slot := range a.slots {
		for _, assignment := range []*state.Assignment{slot.Current, slot.Next} {
			if assignment != nil {
				running[assignment.Revision] = true
			}
		}
	}
	if a.manifest != nil && len(a.revisions) > 0 {
		running[slices.Max(slices.Collect(maps.Keys(a.revisions)))] = true
	}
	return running
}

// removable says why a secret or config must stay.
func (u valueUses) removable(k valueKind, of state.Ref) error {
	if len(u.by) == 0 && u.unreadable == "" {
		return nil
	}
	return fmt.Errorf("%s %s is used by %s; --force removes it all the same, and what starts anew then fails",
		k.word, of, cmp.Or(strings.Join(u.text(), ", "), "something that cannot be told: "+u.unreadable))
}
