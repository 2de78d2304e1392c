package dokkaacfg

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/dokkaa/dokkaa/manifest"
)

// fieldChange is a field that two manifests differ in; "" where one has none.
type fieldChange struct{ path, before, after string }

// diffManifests tells in which fields two manifests differ, with defaults filled in: another way to
// write the same is no difference.
func diffManifests(before, after *manifest.Manifest) []fieldChange {
	return diffFields(flatManifest(before), flatManifest(after))
}

func diffFields(before, after map[string]string) []fieldChange {
	all := map[string]string{}
	maps.Copy(all, before)
	maps.Copy(all, after)
	var changes []fieldChange
	for _, path := range slices.SortedFunc(maps.Keys(all), comparePaths) {
		if before[path] != after[path] {
			changes = append(changes, fieldChange{path, before[path], after[path]})
		}
	}
	return changes
}

// String is the change as a line, with +, - or ~ in front.
func (c fieldChange) String() string {
	switch {
	case c.before == "":
		return fmt.Sprintf("+ %s: %s", c.path, c.after)
	case c.after == "":
		return fmt.Sprintf("- %s: %s", c.path, c.before)
	}
	return fmt.Sprintf("~ %s: %s -> %s", c.path, c.before, c.after)
}

// colour is that of the change's line.
func (c fieldChange) colour() string {
	switch {
	case c.before == "":
		return green
	case c.after == "":
		return red
	}
	return yellow
}

// flatManifest is a manifest as the values of its fields by their path: services.web.port.
func flatManifest(m *manifest.Manifest) map[string]string {
	data, err := json.Marshal(m)
	if err != nil {
		panic(err) // a Manifest holds nothing that cannot be marshalled
	}
	return flatten(data)
}

// flatten makes paths of a JSON object. A list of plain values is one value.
func flatten(object []byte) map[string]string {
	flat := map[string]string{}
	var put func(path string, data json.RawMessage)
	put = func(path string, data json.RawMessage) {
		var fields map[string]json.RawMessage
		var list []json.RawMessage
		switch {
		case json.Unmarshal(data, &fields) == nil && len(fields) > 0:
			for name, value := range fields {
				put(strings.TrimPrefix(path+"."+name, "."), value)
			}
		case json.Unmarshal(data, &list) == nil && slices.ContainsFunc(list, isObject):
			for i, value := range list {
				put(path+"["+strconv.Itoa(i)+"]", value)
			}
		default:
			var line bytes.Buffer
			_ = json.Compact(&line, data) // it was read before
			flat[path] = line.String()
		}
	}
	put("", object)
	return flat
}

func isObject(data json.RawMessage) bool { return len(data) > 0 && data[0] == '{' }

// comparePaths puts the image first, as a manifest that a person writes does.
func comparePaths(a, b string) int {
	rank := func(path string) int {
		if path == "image" {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
}
