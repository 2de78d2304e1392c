package manifest_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/dokkaa/dokkaa/manifest"
)

func TestConditions(t *testing.T) {
	tests := map[string]struct {
		json string
		want manifest.Condition
	}{
		"short":          {`"host.labels.disk == ssd"`, manifest.Condition{Attribute: "host.labels.disk", Operator: manifest.Equal, Value: "ssd"}},
		"one =":          {`"host.labels.disk = ssd"`, manifest.Condition{Attribute: "host.labels.disk", Operator: manifest.Equal, Value: "ssd"}},
		"no blanks":      {`"host.labels.a/b-c_d.e!=1"`, manifest.Condition{Attribute: "host.labels.a/b-c_d.e", Operator: manifest.NotEqual, Value: "1"}},
		"many blanks":    {`"  host.arch   =~ ^(amd64|arm64)$ "`, manifest.Condition{Attribute: "host.arch", Operator: manifest.Matches, Value: "^(amd64|arm64)$"}},
		"value = blanks": {`"host.labels.a == b c"`, manifest.Condition{Attribute: "host.labels.a", Operator: manifest.Equal, Value: "b c"}},
		"at most":        {`"host.labels.gen <= 3"`, manifest.Condition{Attribute: "host.labels.gen", Operator: manifest.LessOrEqual, Value: "3"}},
		"at least":       {`"host.labels.gen >= 3"`, manifest.Condition{Attribute: "host.labels.gen", Operator: manifest.GreaterOrEqual, Value: "3"}},
		"less":           {`"host.labels.gen < 3"`, manifest.Condition{Attribute: "host.labels.gen", Operator: manifest.Less, Value: "3"}},
		"more":           {`"host.labels.gen > 3"`, manifest.Condition{Attribute: "host.labels.gen", Operator: manifest.Greater, Value: "3"}},
		"set":            {`"host.labels.gpu is_set"`, manifest.Condition{Attribute: "host.labels.gpu", Operator: manifest.IsSet}},
		"not set":        {`"host.labels.gpu is_not_set"`, manifest.Condition{Attribute: "host.labels.gpu", Operator: manifest.IsNotSet}},
		"object":         {`{"attribute": "host.ip", "operator": "!=", "value": " x "}`, manifest.Condition{Attribute: "host.ip", Operator: manifest.NotEqual, Value: " x "}},
		"object, one =":  {`{"attribute": "host.ip", "operator": "=", "value": "x"}`, manifest.Condition{Attribute: "host.ip", Operator: manifest.Equal, Value: "x"}},
		"object, set":    {`{"attribute": "host.labels.a", "operator": "is_set"}`, manifest.Condition{Attribute: "host.labels.a", Operator: manifest.IsSet}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := parse(t, `"constraints": [`+test.json+`], "affinities": [`+test.json+`]`)
			equal(t, m.Constraints, []manifest.Condition{test.want})
			equal(t, m.Affinities, []manifest.Affinity{{Condition: test.want, Weight: 50}})
		})
	}
}

// What a condition says of itself is a condition again.
func TestConditionText(t *testing.T) {
	for _, text := range []string{"host.labels.disk == ssd", "host.ip != 10.0.0.1", "host.labels.gpu is_set", "host.arch =~ ^a"} {
		c := parse(t, `"constraints": ["`+text+`"]`).Constraints[0]
		equal(t, c.String(), text)
	}
}

func TestPlacementFields(t *testing.T) {
	m := parse(t, `"affinities": [{"attribute": "host.ip", "operator": "==", "value": "10.0.0.1", "weight": -100}],
		"spread": ["host.labels.zone", {"attribute": "host.arch", "weight": 1}], "max_per_host": 2, "near": ["cache"], "apart": ["batch"]`)
	equal(t, m.Affinities[0].Weight, -100)
	equal(t, m.Spread, []manifest.Spread{{Attribute: "host.labels.zone", Weight: 50}, {Attribute: "host.arch", Weight: 1}})
	equal(t, m.MaxPerHost, 2)
	equal(t, m.Near, []string{"cache"})
	equal(t, m.Apart, []string{"batch"})

	m = parse(t, `"depends_on": ["a", "shop/a", {"container": "migrate", "condition": "completed"}, {"container": "b"}]`)
	equal(t, m.DependsOn, []manifest.Dependency{{Container: "a", Condition: "healthy"}, {Container: "shop/a", Condition: "healthy"},
		{Container: "migrate", Condition: "completed"}, {Container: "b", Condition: "healthy"}})
}

func TestPlacementRefuses(t *testing.T) {
	const form = `must have the form "host.labels.disk == ssd", is `
	const operators = `"==", "!=", "<=", ">=", "=~", "<", ">", "=", "is_not_set" or "is_set"`
	refusals{
		"no operator":      {`"constraints": ["host.labels.a"]`, []string{`constraints[0]: ` + form + `"host.labels.a"`}},
		"empty":            {`"constraints": [""]`, []string{`constraints[0]: ` + form + `""`}},
		"value first":      {`"constraints": ["'ssd' == host.labels.a"]`, []string{`constraints[0]: ` + form + `"'ssd' == host.labels.a"`}},
		"number":           {`"constraints": [1]`, []string{`constraints[0]: must be an object, is 1`}},
		"attribute":        {`"constraints": ["node.arch == amd64"]`, []string{`constraints[0]: "node.arch" is not an attribute of hosts (host.ip, host.arch, host.labels.<label>)`}},
		"no label":         {`"constraints": ["host.labels. == a"]`, []string{`constraints[0]: "host.labels." is not an attribute of hosts (host.ip, host.arch, host.labels.<label>)`}},
		"label":            {`"constraints": [{"attribute": "host.labels.a b", "operator": "is_set"}]`, []string{`constraints[0].attribute: "a b" is not the name of a label (letters, digits, and . _ / -)`}},
		"operator":         {`"constraints": [{"attribute": "host.ip", "operator": "===", "value": "a"}]`, []string{`constraints[0].operator: must be ` + operators + `, is "==="`}},
		"empty object":     {`"constraints": [{}]`, []string{`constraints[0].attribute: is missing`, `constraints[0].operator: is missing`}},
		"weight":           {`"constraints": [{"attribute": "host.ip", "operator": "is_set", "weight": 1}]`, []string{`constraints[0].weight: unknown field`}},
		"no value":         {`"constraints": ["host.labels.a =="]`, []string{`constraints[0]: == needs a value to compare with; a label that a host lacks is found by is_not_set`}},
		"empty value":      {`"constraints": [{"attribute": "host.ip", "operator": "<", "value": ""}]`, []string{`constraints[0].value: < needs a value to compare with; a label that a host lacks is found by is_not_set`}},
		"needless value":   {`"constraints": ["host.labels.a is_set b"]`, []string{`constraints[0]: is_set compares with no value`}},
		"regexp":           {`"constraints": ["host.ip != a", "host.labels.a =~ ("]`, []string{"constraints[1]: is not a regular expression: error parsing regexp: missing closing ): `(`"}},
		"affinity weight":  {`"affinities": [{"attribute": "host.ip", "operator": "is_set", "weight": 101}]`, []string{`affinities[0].weight: must be between -100 and 100, is 101`}},
		"affinity nothing": {`"affinities": [{"attribute": "host.ip", "operator": "is_set", "weight": 0}]`, []string{`affinities[0].weight: must not be 0, which is no preference`}},
		"spread":           {`"spread": ["zone"]`, []string{`spread[0]: "zone" is not an attribute of hosts (host.ip, host.arch, host.labels.<label>)`}},
		"spread twice":     {`"spread": ["host.arch", {"attribute": "host.arch"}]`, []string{`spread[1]: "host.arch" is given twice`}},
		"spread weight":    {`"spread": [{"attribute": "host.arch", "weight": 0}]`, []string{`spread[0].weight: must be between 1 and 100, is 0`}},
		"spread what":      {`"spread": [{}]`, []string{`spread[0].attribute: is missing`}},
		"near and apart":   {`"near": ["a", "b"], "apart": ["c", "b"]`, []string{`apart[1]: "b" is in near too`}},
		"near twice":       {`"near": ["a", "a"]`, []string{`near[1]: "a" is given twice`}},
		"near other app":   {`"near": ["shop/a"]`, []string{`near[0]: "shop/a" is not a DNS label (lower-case letters, digits and hyphens, no hyphen at either end)`}},
		"max per host":     {`"max_per_host": -1`, []string{`max_per_host: must be between 0 and 10000, is -1`}},
		"depends on":       {`"depends_on": ["A"]`, []string{`depends_on[0]: "A" is not a DNS label (lower-case letters, digits and hyphens, no hyphen at either end)`}},
		"depends on app":   {`"depends_on": ["dns/a"]`, []string{`depends_on[0]: "dns" is reserved`}},
		"depends twice":    {`"depends_on": ["a", {"container": "a", "condition": "started"}]`, []string{`depends_on[1]: "a" is given twice`}},
		"depends how":      {`"depends_on": [{"container": "a", "condition": "service_healthy"}]`, []string{`depends_on[0].condition: must be "healthy", "started" or "completed", is "service_healthy"`}},
		"depends on none":  {`"depends_on": [{"condition": "started"}]`, []string{`depends_on[0].container: is missing`}},
	}.check(t)
}

func TestModes(t *testing.T) {
	equal(t, parse(t, `"mode": "global"`).Scale, 1)
	m := parse(t, `"mode": "job"`)
	equal(t, m.Job, manifest.Job{OnHostLoss: manifest.RunRestart})
	m = parse(t, `"schedule": "@daily", "mode": "job"`)
	equal(t, m.Job, manifest.Job{Schedule: "@daily", Concurrency: manifest.ConcurrencyForbid, OnHostLoss: manifest.RunRestart})

	refusals{
		"mode":            {`"mode": "cron"`, []string{`mode: must be "replicated", "global" or "job", is "cron"`}},
		"scale of a job":  {`"mode": "job", "scale": 2`, []string{`scale: must be 1 or not given in mode "job", is 2`}},
		"scale of global": {`"mode": "global", "scale": 2`, []string{`scale: must not be given in mode "global", where there is one instance on each suitable host`}},
		"schedule":        {`"schedule": "@daily"`, []string{`schedule: is for mode "job", not "replicated"`}},
		"all of a job's": {`"mode": "global", "schedule": "@daily", "concurrency": "allow", "on_host_loss": "fail"`, []string{
			`schedule: is for mode "job", not "global"`, `concurrency: is for mode "job", not "global"`, `on_host_loss: is for mode "job", not "global"`}},
		"concurrency alone": {`"mode": "job", "concurrency": "allow"`, []string{`concurrency: is for jobs with a schedule; without one there is one run for each revision`}},
		"global anyway": {`"mode": "global", "spread": ["host.arch"], "max_per_host": 1, "affinities": ["host.arch == arm64"]`, []string{
			`affinities: has no meaning in mode "global", where there is one instance on each suitable host`,
			`spread: has no meaning in mode "global", where there is one instance on each suitable host`,
			`max_per_host: has no meaning in mode "global", where there is one instance on each suitable host`}},
	}.check(t)
}

func TestParseForKnowsTheContainer(t *testing.T) {
	tests := map[string]struct {
		app, name, fields string
		want              []string
	}{
		"others":         {"shop", "web", `"near": ["db"], "apart": ["batch"], "depends_on": ["db", "other/web"]`, nil},
		"near":           {"shop", "web", `"near": ["db", "web"]`, []string{`near[1]: "web" is this container itself`}},
		"apart":          {"shop", "web", `"apart": ["web"]`, []string{`apart[0]: "web" is this container itself; max_per_host keeps its instances apart`}},
		"depends":        {"shop", "web", `"depends_on": ["web"]`, []string{`depends_on[0]: "web" is this container itself, which would wait for ever`}},
		"depends by app": {"shop", "web", `"depends_on": ["db", "shop/web"]`, []string{`depends_on[1]: "shop/web" is this container itself, which would wait for ever`}},
		"names too":      {"dns", "web", `"scael": 1`, []string{`app: "dns" is reserved`, `scael: unknown field`}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m, err := manifest.ParseFor(test.app, test.name, []byte(`{"image": "i", `+test.fields+`}`))
			var errs manifest.Errors
			errors.As(err, &errs)
			if got := errs.Strings(); !slices.Equal(got, test.want) || (m == nil) != (err != nil) {
				t.Errorf("got %v, %q, want %q", m, got, test.want)
			}
		})
	}
}
