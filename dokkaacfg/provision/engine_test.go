package provision

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestMergeSettings(t *testing.T) {
	ours := engineSettings
	limits := map[string]any{"max-size": "1g"}
	tests := map[string]struct {
		has   map[string]any
		added []string
		swarm bool
		want  map[string]any
		names string
	}{
		"none":                    {nil, nil, false, ours, "live-restore log-driver log-opts"},
		"all, from us":            {maps.Clone(ours), []string{"live-restore", "log-driver", "log-opts"}, false, ours, "live-restore log-driver log-opts"},
		"all, the operator's":     {maps.Clone(ours), nil, false, ours, ""},
		"others":                  {map[string]any{"mtu": 1400.0}, nil, false, merge(ours, map[string]any{"mtu": 1400.0}), "live-restore log-driver log-opts"},
		"other limits":            {map[string]any{"log-opts": limits}, nil, false, merge(ours, map[string]any{"log-opts": limits}), "live-restore log-driver"},
		"another driver":          {map[string]any{"log-driver": "journald"}, nil, false, map[string]any{"live-restore": true, "log-driver": "journald"}, "live-restore"},
		"no live-restore, wanted": {map[string]any{"live-restore": false}, nil, false, merge(ours, map[string]any{"live-restore": false}), "log-driver log-opts"},
		"swarm mode":              {nil, nil, true, map[string]any{"log-driver": ours["log-driver"], "log-opts": ours["log-opts"]}, "log-driver log-opts"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			merged, names := mergeSettings(test.has, test.added, test.swarm)
			if !reflect.DeepEqual(merged, test.want) || strings.Join(names, " ") != test.names {
				t.Errorf("%v, of which %q ours; want %v and %q", merged, names, test.want, test.names)
			}
			// Again, it is what it was.
			again, more := mergeSettings(merged, names, test.swarm)
			if !reflect.DeepEqual(again, merged) || !slices.Equal(more, names) {
				t.Errorf("done again it becomes %v, %q", again, more)
			}
		})
	}
}

func merge(a, b map[string]any) map[string]any {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}
