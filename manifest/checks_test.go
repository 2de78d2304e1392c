package manifest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/manifest"
)

func TestCheckDefaults(t *testing.T) {
	checks := parse(t, `"services": {"web": 80}, "checks": [{"type": "tcp"}, {"type": "http"}, {"name": "http-2", "type": "http"},
		{"type": "http", "path": "/up?deep=1"}, {"type": "exec", "command": ["true"]}]`).Checks
	want := manifest.Check{Name: "tcp", Type: manifest.CheckTCP, Service: "web", Interval: manifest.Duration(10 * time.Second),
		Timeout: manifest.Duration(2 * time.Second), SuccessThreshold: 1, FailureThreshold: 3, StartPeriod: manifest.Duration(30 * time.Second),
		StartInterval: manifest.Duration(time.Second), OnFailure: manifest.OnFailureRestart}
	equal(t, checks[0], want)
	want.Name, want.Type, want.Path = "http", manifest.CheckHTTP, "/"
	equal(t, checks[1], want)
	want.Name = "http-2"
	equal(t, checks[2], want)
	want.Name, want.Path = "http-3", "/up?deep=1"
	equal(t, checks[3], want)
	want.Name, want.Type, want.Path, want.Service, want.Command = "exec", manifest.CheckExec, "", "", []string{"true"}
	equal(t, checks[4], want)
}

func TestCheckFields(t *testing.T) {
	checks := parse(t, `"checks": [{"name": "up", "type": "http", "service": "b", "path": "/a", "headers": {"Host": "example.com"}, "interval": "100ms",
		"timeout": "1.5s", "success_threshold": 2, "failure_threshold": 100, "start_period": "0s", "start_interval": "1h", "on_failure": "unready"}],
		"services": {"a": 1, "b": 2}`).Checks
	equal(t, checks, []manifest.Check{{Name: "up", Type: manifest.CheckHTTP, Service: "b", Path: "/a", Headers: map[string]string{"Host": "example.com"},
		Interval: manifest.Duration(100 * time.Millisecond), Timeout: manifest.Duration(1500 * time.Millisecond), SuccessThreshold: 2,
		FailureThreshold: 100, StartInterval: manifest.Duration(time.Hour), OnFailure: manifest.OnFailureUnready}})
}

func TestChecksRefuse(t *testing.T) {
	const web = `"services": {"web": 80}, "checks": `
	refusals{
		"no list":          {`"checks": {}`, []string{`checks: must be a list, is an object`}},
		"no object":        {`"checks": ["tcp"]`, []string{`checks[0]: must be an object, is "tcp"`}},
		"no type":          {web + `[{}]`, []string{`checks[0].type: is missing`}},
		"other type":       {web + `[{"type": "grpc"}]`, []string{`checks[0].type: must be "http", "tcp" or "exec", is "grpc"`}},
		"typo":             {web + `[{"type": "tcp", "intervall": "1s"}]`, []string{`checks[0].intervall: unknown field`}},
		"bad name":         {web + `[{"type": "tcp", "name": "A b"}]`, []string{`checks[0].name: "A b" is not a DNS label (lower-case letters, digits and hyphens, no hyphen at either end)`}},
		"name twice":       {web + `[{"type": "tcp", "name": "a"}, {"type": "tcp", "name": "a"}]`, []string{`checks[1].name: "a" is already that of checks[0]`}},
		"no service":       {`"checks": [{"type": "tcp"}]`, []string{`checks[0].service: a check of type "tcp" asks a service, and the manifest has none`}},
		"which service":    {`"services": {"a": 1, "b": 2}, "checks": [{"type": "tcp"}]`, []string{`checks[0].service: is missing: the manifest has several services`}},
		"unknown service":  {web + `[{"type": "tcp", "service": "wbe"}]`, []string{`checks[0].service: the manifest has no service "wbe"`}},
		"path of tcp":      {web + `[{"type": "tcp", "path": "/", "headers": {}}]`, []string{`checks[0].path: has no meaning in a check of type "tcp"`, `checks[0].headers: has no meaning in a check of type "tcp"`}},
		"command of http":  {web + `[{"type": "http", "command": ["a"]}]`, []string{`checks[0].command: has no meaning in a check of type "http"`}},
		"service of exec":  {web + `[{"type": "exec", "command": ["a"], "service": "web"}]`, []string{`checks[0].service: has no meaning in a check of type "exec"`}},
		"no command":       {`"checks": [{"type": "exec"}]`, []string{`checks[0].command: is missing`}},
		"empty command":    {`"checks": [{"type": "exec", "command": []}]`, []string{`checks[0].command: must not be empty`}},
		"relative path":    {web + `[{"type": "http", "path": "up"}]`, []string{`checks[0].path: must begin with "/", is "up"`}},
		"another host":     {web + `[{"type": "http", "path": "//example.com/"}]`, []string{`checks[0].path: "//example.com/" is not the path of a URL`}},
		"path with blanks": {web + `[{"type": "http", "path": "/a b"}]`, []string{`checks[0].path: "/a b" is not the path of a URL`}},
		"header's name":    {web + `[{"type": "http", "headers": {"a b": ""}}]`, []string{`checks[0].headers: "a b" is not the name of a header`}},
		"header's value":   {web + `[{"type": "http", "headers": {"a": "b\r\nc: d"}}]`, []string{`checks[0].headers.a: must not contain control characters`}},
		"too often":        {web + `[{"type": "tcp", "interval": "99ms"}]`, []string{`checks[0].interval: must be between 100ms and 1h0m0s, is 99ms`}},
		"interval number":  {web + `[{"type": "tcp", "interval": 10}]`, []string{`checks[0].interval: must be a duration such as "10s" or "1m30s", is 10`}},
		"interval unit":    {web + `[{"type": "tcp", "interval": "10"}]`, []string{`checks[0].interval: must be a duration such as "10s" or "1m30s", is "10"`}},
		"negative":         {web + `[{"type": "tcp", "timeout": "-1s"}]`, []string{`checks[0].timeout: must be between 10ms and 10m0s, is -1s`}},
		"too exact":        {web + `[{"type": "tcp", "start_period": "1ns"}]`, []string{`checks[0].start_period: must be whole milliseconds, is 1ns`}},
		"start interval":   {web + `[{"type": "tcp", "start_interval": "0s"}]`, []string{`checks[0].start_interval: must be between 100ms and 1h0m0s, is 0s`}},
		"overflow":         {web + `[{"type": "tcp", "start_period": "99999999h"}]`, []string{`checks[0].start_period: must be a duration such as "10s" or "1m30s", is "99999999h"`}},
		"threshold 0":      {web + `[{"type": "tcp", "failure_threshold": 0, "success_threshold": 101}]`, []string{`checks[0].failure_threshold: must be between 1 and 100, is 0`, `checks[0].success_threshold: must be between 1 and 100, is 101`}},
		"on failure":       {web + `[{"type": "tcp", "on_failure": "reboot"}]`, []string{`checks[0].on_failure: must be "restart" or "unready", is "reboot"`}},
		"second of two":    {web + `[{"type": "tcp"}, {"type": "tcp", "interval": null}]`, []string{`checks[1].interval: must be a duration such as "10s" or "1m30s", is null`}},
		"bad services":     {`"services": {"A": 80}, "checks": [{"type": "tcp", "service": "a"}]`, []string{`services.A: "A" is not a DNS label (lower-case letters, digits and hyphens, no hyphen at either end)`}},
		"of a job":         {`"mode": "job", "checks": [{"type": "exec", "command": ["a"]}]`, []string{`checks: mode "job" has none: a job is not there to be healthy, it runs to its end`}},
		"too many": {web + `[` + strings.Repeat(`{"type": "tcp"},`, manifest.MaxChecks) + `{"type": "tcp"}]`, []string{
			fmt.Sprintf(`checks: has %d entries, at most %d are allowed`, manifest.MaxChecks+1, manifest.MaxChecks)}},
	}.check(t)
}
