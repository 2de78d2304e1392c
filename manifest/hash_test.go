package manifest_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/manifest"
	"pgregory.net/rapid"
)

// alternatives are, for each field, what a manifest may have there: each inner list holds what
// makes the same containers, another list other ones. "" is a field that is not given.
var alternatives = map[string][][]string{
	// What makes the container.
	"image":       {{`"i"`}, {`"i:2"`}},
	"command":     {{``, `[]`}, {`["a"]`}, {`["a", "b"]`}},
	"entrypoint":  {{``}, {`"a"`, `["a"]`}, {`["a", ""]`}},
	"env":         {{``, `{}`, `[]`}, {`{"A": "1"}`, `["A=1"]`}, {`{"A": "2"}`}},
	"user":        {{``}, {`"root"`}, {`"root:root"`}},
	"working_dir": {{``}, {`"/srv"`}},
	"labels":      {{``, `{}`}, {`{"a": "b"}`}, {`{"a": "c"}`}},
	"hostname":    {{``}, {`"db"`}},
	"services": {{``, `{}`}, {`{"web": 80}`, `{"web": {"port": 80, "weight": 5, "priority": 1}}`, `{"web": {"port": 80, "role": "web", "protocol": "http"}}`,
		`{"web": {"port": 80, "host_port": 0}}`}, {`{"web": 81}`}, {`{"web": {"port": 80, "protocol": "udp"}}`}, {`{"web": {"port": 80, "host_port": 8080}}`}, {`{"api": 80}`}},
	"links": {{``, `[]`}, {`["redis"]`, `[{"to": "redis"}]`, `[{"to": "redis", "as": "redis"}]`, `[{"to": "redis", "sticky": false}]`}, {`[{"to": "redis", "sticky": true}]`}, {`["redis", "db"]`}, {`["db", "redis"]`}, {`["shop/redis"]`}},
	"resources": {{``, `{}`, `{"reserve": {"cpus": 1, "memory": "1g"}}`}, {`{"cpus": 0.5}`, `{"cpus": 0.5, "reserve": {"cpus": 0.2}}`},
		{`{"memory": "64m"}`, `{"memory": 67108864, "reserve": {"memory": "64m"}}`}},
	"volumes": {{``, `[]`}, {`[{"name": "a", "path": "/a"}]`, `[{"name": "a", "path": "/a", "on_host_loss": "move_empty"}]`},
		{`[{"name": "a", "path": "/b"}]`}, {`[{"name": "a", "path": "/a", "read_only": true}]`}, {`[{"name": "a", "path": "/a", "driver": "ceph"}]`},
		{`[{"name": "a", "path": "/a", "driver": "ceph", "access_mode": "multi-writer"}]`}},
	"secrets": {{``, `[]`}, {`["s"]`, `[{"source": "s", "path": "/run/secrets/s", "mode": "400"}]`}, {`["s@1"]`}, {`[{"source": "s", "mode": "0440"}]`}, {`[{"source": "s", "uid": 7}]`}},
	"configs": {{``, `[]`}, {`[{"source": "c", "path": "/c"}]`}, {`[{"content": "c", "path": "/c"}]`}, {`[{"content": "d", "path": "/c"}]`}},

	// What is around it.
	"pull":              {{``, `"always"`, `"never"`}},
	"scale":             {{``, `0`, `1`, `7`}},
	"mode":              {{``, `"replicated"`}},
	"checks":            {{``, `[]`, `[{"type": "exec", "command": ["a"]}]`, `[{"type": "exec", "command": ["a"], "interval": "1s"}]`}},
	"restart":           {{``, `{}`, `{"attempts": 3}`}},
	"disconnect":        {{``, `{}`, `{"replace": false}`, `{"lost_after": "1m"}`}},
	"update":            {{``, `{}`, `{"order": "stop-first"}`, `{"max_parallel": 2, "failure_action": "pause"}`}},
	"stop_grace_period": {{``, `"1s"`}},
	"drain_timeout":     {{``, `"1s"`}},
	"revision_history":  {{``, `3`}},
	"constraints":       {{``, `[]`, `["host.arch == amd64"]`}},
	"affinities":        {{``, `["host.arch == amd64"]`}},
	"spread":            {{``, `["host.labels.zone"]`}},
	"max_per_host":      {{``, `7`}},
	"near":              {{``, `["a"]`}},
	"apart":             {{``, `["b"]`}},
	"depends_on":        {{``, `["a"]`, `[{"container": "a", "condition": "started"}]`}},
}

// ofJobs is what only jobs have; none of it makes the container.
var ofJobs = map[string][]string{
	"schedule":     {`"@daily"`, `"@hourly"`},
	"concurrency":  {`"forbid"`, `"allow"`},
	"on_host_loss": {``, `"fail"`},
}

func parseFields(t interface{ Fatalf(string, ...any) }, fields map[string]string) *manifest.Manifest {
	var text []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if fields[name] != "" {
			text = append(text, `"`+name+`": `+fields[name])
		}
	}
	m, err := manifest.Parse([]byte("{" + strings.Join(text, ", ") + "}"))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

// Whatever else a manifest has, changing a field makes a new revision exactly if it makes other
// containers.
func TestRevisionHashIsOfTheContainer(t *testing.T) {
	names := slices.Sorted(maps.Keys(alternatives))
	rapid.Check(t, func(t *rapid.T) {
		fields, groups := map[string]string{}, map[string]int{}
		draw := func(name, label string) (group int) {
			group = rapid.IntRange(0, len(alternatives[name])-1).Draw(t, label+name)
			fields[name] = rapid.SampledFrom(alternatives[name][group]).Draw(t, label+name+" as")
			return group
		}
		for _, name := range names {
			groups[name] = draw(name, "")
		}
		base := parseFields(t, fields).RevisionHash(manifest.Versions{})
		for _, name := range names {
			was := fields[name]
			sameContainer := draw(name, "other ") == groups[name]
			if sameHash := parseFields(t, fields).RevisionHash(manifest.Versions{}) == base; sameHash != sameContainer {
				t.Errorf("%s from %s to %s: same container %v, same hash %v", name, was, fields[name], sameContainer, sameHash)
			}
			fields[name] = was
		}
	})
}

func TestRevisionHashOfModes(t *testing.T) {
	hash := func(fields map[string]string) string {
		fields["image"] = `"i"`
		return parseFields(t, fields).RevisionHash(manifest.Versions{})
	}
	service := hash(map[string]string{})
	equal(t, hash(map[string]string{"mode": `"global"`}), service)
	job := hash(map[string]string{"mode": `"job"`})
	if job == service {
		t.Error("a job's container is that of what runs on and on")
	}
	for name, values := range ofJobs {
		for _, value := range values {
			fields := map[string]string{"mode": `"job"`, "schedule": `"@weekly"`}
			fields[name] = value
			equal(t, hash(fields), job)
		}
	}
}

func TestRevisionHashOfVersions(t *testing.T) {
	m := parse(t, `"secrets": ["s"], "configs": [{"source": "s", "path": "/c"}]`)
	seen := map[string]bool{}
	for _, versions := range []manifest.Versions{{}, {Secrets: map[string]int{"s": 1}}, {Secrets: map[string]int{"s": 2}}, {Configs: map[string]int{"s": 1}}, {Restart: 1}, {Restart: 2}} {
		seen[m.RevisionHash(versions)] = true
	}
	equal(t, len(seen), 6)
}

// Who adds a field says here whether it makes the container.
func TestEveryFieldIsInTheHashOrNot(t *testing.T) {
	for _, name := range jsonFields(reflect.TypeFor[manifest.Manifest]()) {
		_, all := alternatives[name]
		_, jobs := ofJobs[name]
		if !all && !jobs && name != "mode" {
			t.Errorf("%s is in none of the lists above", name)
		}
	}
}

// jsonFields are the names of a struct's fields in JSON, those of embedded structs among them.
func jsonFields(of reflect.Type) []string {
	var names []string
	for _, field := range reflect.VisibleFields(of) {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	return names
}
