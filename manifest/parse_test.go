package manifest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/manifest"
)

func tcp(port int) manifest.Service {
	return manifest.Service{Port: port, Protocol: "tcp", Weight: 100, Priority: 10}
}

// withDefaults fills in the defaults of all that the tests of other fields don't mention.
func withDefaults(m *manifest.Manifest) {
	m.Pull, m.Mode = manifest.PullMissing, manifest.Replicated
	m.Restart = manifest.Restart{Attempts: manifest.Unlimited, Interval: manifest.DefaultRestartInterval,
		Delay: manifest.DefaultRestartDelay, Mode: manifest.RestartDelay}
	m.Disconnect = manifest.Disconnect{Replace: true, Reconcile: manifest.KeepOriginal}
	m.Update = manifest.Update{Order: manifest.OrderStartFirst, MaxParallel: 1, MinHealthyTime: manifest.DefaultMinHealthyTime,
		HealthyDeadline: manifest.DefaultHealthyDeadline, ProgressDeadline: manifest.DefaultProgressDeadline, FailureAction: manifest.FailureRollback}
	m.StopGracePeriod, m.DrainTimeout = manifest.DefaultStopGracePeriod, manifest.DefaultDrainTimeout
	m.RevisionHistory = manifest.DefaultRevisionHistory
}

func TestParseAccepts(t *testing.T) {
	web := tcp(80)
	web.Role = "web"
	tests := map[string]struct {
		json string
		want manifest.Manifest
	}{
		"image alone": {`{"image": "redis"}`, manifest.Manifest{Image: "redis", Scale: 1}},
		"short service": {`{"image": "i", "services": {"nginx": 80}}`,
			manifest.Manifest{Image: "i", Scale: 1, Services: map[string]manifest.Service{"nginx": tcp(80)}}},
		"service as object": {`{"image": "i", "services": {"web": {"port": 80, "role": "web"}}}`,
			manifest.Manifest{Image: "i", Scale: 1, Services: map[string]manifest.Service{"web": web}}},
		"one port of each protocol": {`{"image":"i","services":{"dns":{"port":53,"protocol":"udp","host_port":5353},"dns-tcp":{"port":53,"host_port":5353}}}`,
			manifest.Manifest{Image: "i", Scale: 1, Services: map[string]manifest.Service{
				"dns":     {Port: 53, Protocol: "udp", HostPort: 5353, Weight: 100, Priority: 10},
				"dns-tcp": {Port: 53, Protocol: "tcp", HostPort: 5353, Weight: 100, Priority: 10}}}},
		"service with everything": {`{"image":"i","services":{"w":{"port":80,"protocol":"http","weight":5,"priority":1}}}`,
			manifest.Manifest{Image: "i", Scale: 1, Services: map[string]manifest.Service{
				"w": {Port: 80, Protocol: "http", Weight: 5, Priority: 1}}}},
		"links in each form": {`{"image": "i", "links": ["redis", "shop/db", {"to": "other/redis", "as": "cache", "sticky": true}]}`,
			manifest.Manifest{Image: "i", Scale: 1, Links: []manifest.Link{
				{To: "redis", As: "redis"}, {To: "shop/db", As: "db"}, {To: "other/redis", As: "cache", Sticky: true}}}},
		"env as object": {`{"image": "i", "env": {"A": "1", "B": ""}}`,
			manifest.Manifest{Image: "i", Scale: 1, Env: map[string]string{"A": "1", "B": ""}}},
		"env as list": {`{"image": "i", "env": ["A=1", "B=x=y"]}`,
			manifest.Manifest{Image: "i", Scale: 1, Env: map[string]string{"A": "1", "B": "x=y"}}},
		"scale 0": {`{"image": "i", "scale": 0}`, manifest.Manifest{Image: "i"}},
		"command": {`{"image": "i", "command": ["/bin/sh", "-c", "true; false && echo +%"]}`,
			manifest.Manifest{Image: "i", Scale: 1, Command: []string{"/bin/sh", "-c", "true; false && echo +%"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			withDefaults(&test.want)
			got, err := manifest.Parse([]byte(test.json))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(*got, test.want) {
				t.Errorf("got  %+v\nwant %+v", *got, test.want)
			}
		})
	}
}

func TestParseAcceptsTheDocumentedExamples(t *testing.T) {
	for _, name := range []string{"nginx", "crawler"} {
		data, err := os.ReadFile("../examples/nginx-and-crawler/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := manifest.Parse(data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	tests := map[string]struct {
		json string
		want []string
	}{
		"nothing":             {``, []string{"is empty"}},
		"no JSON":             {"{\n  image}", []string{"is not JSON: line 2, column 3: invalid character 'i' looking for beginning of object key string"}},
		"two values":          {`{"image":"i"} {}`, []string{"has something behind the JSON object"}},
		"no object":           {`[1]`, []string{"must be an object, is a list"}},
		"no image":            {`{}`, []string{"image: is missing"}},
		"empty image":         {`{"image": ""}`, []string{"image: must not be empty"}},
		"image with space":    {`{"image": "a b"}`, []string{`image: "a b" is not the name of an image`}},
		"unknown field":       {`{"image": "i", "scael": 2}`, []string{"scael: unknown field"}},
		"unknown nested":      {`{"image": "i", "services": {"a": {"prot": 80, "port": 1}}}`, []string{"services.a.prot: unknown field"}},
		"case counts":         {`{"Image": "i", "image": "i"}`, []string{"Image: unknown field"}},
		"not yet supported":   {`{"image": "i", "autoscale": {}}`, []string{"autoscale: not supported by this version"}},
		"given twice":         {`{"image": "i", "scale": 1, "scale": 2}`, []string{"scale: is given twice"}},
		"negative scale":      {`{"image": "i", "scale": -1}`, []string{"scale: must be between 0 and 10000, is -1"}},
		"scale as text":       {`{"image": "i", "scale": "2"}`, []string{`scale: must be a whole number, is "2"`}},
		"scale null":          {`{"image": "i", "scale": null}`, []string{`scale: must be a whole number, is null`}},
		"scale broken":        {`{"image": "i", "scale": 1.5}`, []string{`scale: must be a whole number, is 1.5`}},
		"command as text":     {`{"image": "i", "command": "ls"}`, []string{`command: must be a list, is "ls"`}},
		"command item":        {`{"image": "i", "command": ["a", 1]}`, []string{`command[1]: must be a string, is 1`}},
		"port out of range":   {`{"image": "i", "services": {"a": 70000}}`, []string{`services.a: must be between 1 and 65535, is 70000`}},
		"port missing":        {`{"image": "i", "services": {"a": {}}}`, []string{`services.a.port: is missing`}},
		"port twice":          {`{"image": "i", "services": {"a": 80, "b": 80}}`, []string{`services.b: port 80 is already that of service "a"`}},
		"udp for browsers":    {`{"image": "i", "services": {"a": {"port": 1, "protocol": "udp", "role": "web"}}}`, []string{`services.a.role: "web" is for what browsers connect to, and the protocol is "udp"`}},
		"port twice by udp":   {`{"image": "i", "services": {"a": {"port": 1, "protocol": "udp"}, "b": {"port": 1, "protocol": "udp"}}}`, []string{`services.b: port 1 is already that of service "a"`}},
		"check of udp":        {`{"image": "i", "services": {"a": {"port": 1, "protocol": "udp"}}, "checks": [{"type": "tcp"}]}`, []string{`checks[0].service: a check of type "tcp" connects, and service "a" takes datagrams; one of type "exec" may ask it`}},
		"service name":        {`{"image": "i", "services": {"A": 80}}`, []string{`services.A: "A" is not a DNS label (lower-case letters, digits and hyphens, no hyphen at either end)`}},
		"reserved service":    {`{"image": "i", "services": {"any": 80}}`, []string{`services.any: "any" is reserved`}},
		"env without =":       {`{"image": "i", "env": ["A"]}`, []string{`env[0]: must have the form "KEY=value"`}},
		"env value no string": {`{"image": "i", "env": {"A": 1}}`, []string{`env.A: must be a string, is 1`}},
		"link half sticky":    {`{"image": "i", "links": [{"to": "a", "sticky": "yes"}]}`, []string{`links[0].sticky: must be true or false, is "yes"`}},
		"link to nowhere":     {`{"image": "i", "links": [{"as": "x"}]}`, []string{`links[0].to: must not be empty`}},
		"link with odd app":   {`{"image": "i", "links": ["web/x"]}`, []string{`links[0]: "web" is reserved`}},
		"two links, one name": {`{"image": "i", "links": ["a-b", {"to": "x/y", "as": "a-b"}]}`, []string{
			`links[1]: variable SERVICE_A_B_ADDR is already set by links[0]`, `links[1]: variable SERVICE_A_B_PORT is already set by links[0]`}},
		"link against env": {`{"image": "i", "links": ["a"], "env": {"SERVICE_A_PORT": "1"}}`, []string{
			`links[0]: variable SERVICE_A_PORT is already set by env.SERVICE_A_PORT`}},
		"all at once": {`{"imag": "x", "scale": -1, "services": {"A": 0}}`, []string{`imag: unknown field`,
			`scale: must be between 0 and 10000, is -1`,
			`services.A: "A" is not a DNS label (lower-case letters, digits and hyphens, no hyphen at either end)`,
			`services.A: must be between 1 and 65535, is 0`, `image: is missing`}},
		"too many links": {`{"image": "i", "links": [` + manyLinks(101) + `]}`, []string{`links: has 101 entries, at most 100 are allowed`}},
		"too large":      {`{"image": "` + strings.Repeat("i", manifest.MaxSize) + `"}`, []string{fmt.Sprintf("is %d bytes long, at most %d are allowed", manifest.MaxSize+13, manifest.MaxSize)}},
		"bad UTF-8":      {"{\"image\": \"\xff\"}", []string{"is not valid UTF-8"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := manifest.Parse([]byte(test.json))
			var errs manifest.Errors
			if !errors.As(err, &errs) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if got := errs.Strings(); !slices.Equal(got, test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

// A manifest that is wrong all over is refused in few words.
func TestParseTellsNotTooMuch(t *testing.T) {
	long := strings.Repeat("n", 100_000)
	for name, text := range map[string]string{
		"fields":         `{"` + strings.Repeat(`a":1,"`, 30_000) + `b":1}`,
		"fields below":   `{"image": "i", "services": {"` + long + `": {"` + strings.Repeat(`a":1,"`, 20_000) + `b":1}}}`,
		"long texts":     `{"image": "-` + long + `", "pull": "` + long + `"}`,
		"list":           `{"image": "i", "constraints": [` + strings.Repeat(`"",`, 60_000) + `""]}`,
		"files":          `{"image": "i", "secrets": [` + strings.Repeat(`{"source":"a","path":"b"},`, 90) + `"a"]}`,
		"deep":           `{"image": "i", "labels": ` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`,
		"deep, not done": strings.Repeat(`{"a":`, 40_000),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := manifest.Parse([]byte(text))
			if err == nil {
				t.Fatal("is accepted")
			}
			if told := len(err.Error()); told > 30_000 {
				t.Errorf("is refused in %d bytes: %.200s…", told, err)
			}
		})
	}
}

func manyLinks(n int) string {
	links := make([]string, n)
	for i := range links {
		links[i] = fmt.Sprintf(`"s%d"`, i)
	}
	return strings.Join(links, ",")
}

// FuzzParse: no input makes Parse panic, and what it accepts, written again, means the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"image": "dockerfile/nginx", "scale": 1, "services": {"nginx": 80}}`))
	f.Add([]byte(`{"image":"i","services":{"w":{"port":80,"role":"web"}},"links":["a","b/c",{"to":"d/e","as":"f"}],"env":["A=b"]}`))
	f.Add([]byte(`{"image":"i","env":{"A":"b"},"command":["x"]}`))
	f.Add([]byte(everything))
	f.Add([]byte(job))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := manifest.Parse(data)
		if err != nil {
			return
		}
		canonical, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		again, err := manifest.Parse(canonical)
		if err != nil {
			t.Fatalf("%s: %v", canonical, err)
		}
		if !reflect.DeepEqual(again, m) {
			t.Errorf("%s is not what %s is", canonical, data)
		}
	})
}

// everything has every field, none with its default.
const everything = `{
	"image": "i", "command": ["a", "b"], "entrypoint": ["e"], "env": {"A": "1"}, "user": "1000:www", "working_dir": "/srv",
	"labels": {"team": "a"}, "hostname": "db.example", "pull": "always", "scale": 3, "mode": "replicated",
	"services": {"web": {"port": 80, "protocol": "http", "role": "web", "weight": 5, "priority": 1}, "db": {"port": 5432, "host_port": 15432}},
	"links": ["redis", "shop/db", {"to": "other/redis", "as": "cache", "sticky": true}],
	"checks": [
		{"type": "http", "service": "web", "path": "/up?x=1", "headers": {"Host": "example.com"}, "interval": "500ms", "timeout": "100ms",
		 "success_threshold": 2, "failure_threshold": 4, "start_period": "1m30s", "start_interval": "200ms", "on_failure": "unready"},
		{"type": "http", "service": "web"}, {"name": "alive", "type": "exec", "command": ["true"]}],
	"restart": {"attempts": 3, "interval": "10m", "delay": "2s", "mode": "delay"},
	"disconnect": {"lost_after": "1m", "replace": false, "stop_on_client_after": "30s", "reconcile": "keep_replacement"},
	"update": {"order": "stop-first", "max_parallel": 2, "min_healthy_time": "1s", "healthy_deadline": "1m",
		"progress_deadline": "0s", "failure_action": "pause", "canary": 0},
	"stop_grace_period": "1m", "drain_timeout": "0s", "revision_history": 3,
	"constraints": ["host.labels.disk == ssd", {"attribute": "host.arch", "operator": "=", "value": "amd64"}, "host.labels.gpu is_set"],
	"affinities": ["host.labels.zone =~ ^a", {"attribute": "host.ip", "operator": "!=", "value": "10.0.0.1", "weight": -20}],
	"spread": ["host.labels.zone", {"attribute": "host.labels.rack", "weight": 20}],
	"max_per_host": 2, "near": ["cache"], "apart": ["batch", "other"],
	"resources": {"cpus": 0.5, "memory": "256m", "reserve": {"cpus": 0.25, "memory": 134217728}},
	"volumes": [{"name": "data", "path": "/var/lib/db", "on_host_loss": "move_empty"},
		{"name": "shared", "path": "/shared", "driver": "local", "driver_opts": {"type": "nfs", "o": "addr=10.0.0.9,rw", "device": ":/x"},
		 "access_mode": "multi-writer", "read_only": true}],
	"depends_on": ["cache", "shop/db", {"container": "migrate", "condition": "completed"}],
	"secrets": ["db_password", {"source": "key.pem@3", "path": "/etc/key.pem", "mode": "0440", "uid": 1000, "gid": 1000}],
	"configs": [{"source": "nginx.conf", "path": "/etc/nginx.conf"}, {"content": "hello\n", "path": "/etc/motd", "mode": "0600"}]
}`

// job has the fields that only jobs have.
const job = `{"image": "i", "mode": "job", "schedule": "30 3 * * 1-5", "concurrency": "replace", "on_host_loss": "fail"}`

func TestParseEverything(t *testing.T) {
	for name, text := range map[string]string{"everything": everything, "job": job} {
		m, err := manifest.Parse([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		canonical, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		again, err := manifest.Parse(canonical)
		if err != nil {
			t.Fatalf("%s: %v", canonical, err)
		}
		if !reflect.DeepEqual(again, m) {
			t.Errorf("got  %+v\nwant %+v", again, m)
		}
	}
}
