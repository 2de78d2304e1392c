package manifest_test

import (
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/manifest"
)

const second = manifest.Duration(time.Second)

func TestRestartDefaults(t *testing.T) {
	tests := map[string]struct {
		fields   string
		attempts int
		mode     string
	}{
		"nothing":            {`"restart": {}`, manifest.Unlimited, manifest.RestartDelay},
		"attempts":           {`"restart": {"attempts": 3}`, 3, manifest.RestartFail},
		"no attempts":        {`"restart": {"attempts": 0}`, 0, manifest.RestartFail},
		"never give up":      {`"restart": {"attempts": -1}`, manifest.Unlimited, manifest.RestartDelay},
		"wait":               {`"restart": {"attempts": 3, "mode": "delay"}`, 3, manifest.RestartDelay},
		"job":                {`"mode": "job"`, 0, manifest.RestartFail},
		"job, delay":         {`"mode": "job", "restart": {"delay": "5s"}`, 0, manifest.RestartFail},
		"job, told first":    {`"restart": {"attempts": 2}, "mode": "job"`, 2, manifest.RestartFail},
		"job, for ever":      {`"mode": "job", "restart": {"attempts": -1}`, manifest.Unlimited, manifest.RestartDelay},
		"global is no job":   {`"mode": "global"`, manifest.Unlimited, manifest.RestartDelay},
		"attempts with mode": {`"restart": {"mode": "fail", "attempts": 1}`, 1, manifest.RestartFail},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := parse(t, test.fields).Restart
			equal(t, r.Attempts, test.attempts)
			equal(t, r.Mode, test.mode)
		})
	}
}

func TestUpdateFields(t *testing.T) {
	u := parse(t, `"update": {"order": "start-first", "max_parallel": 2, "min_healthy_time": "0s", "healthy_deadline": "1s",
		"progress_deadline": "0s", "failure_action": "continue", "canary": 1}`).Update
	equal(t, u, manifest.Update{Order: manifest.OrderStartFirst, MaxParallel: 2, HealthyDeadline: second,
		FailureAction: manifest.FailureContinue, Canary: 1})
	u = parse(t, `"update": {"healthy_deadline": "20m"}`).Update
	equal(t, u.ProgressDeadline, 20*60*second) // else the default would contradict it
	u = parse(t, `"update": {"healthy_deadline": "1m"}`).Update
	equal(t, u.ProgressDeadline, manifest.DefaultProgressDeadline)
	equal(t, parse(t, `"scale": 0, "update": {"canary": 2}`).Update.Canary, 2) // it is not running now

	m := parse(t, `"stop_grace_period": "0s", "drain_timeout": "24h", "revision_history": 0`)
	equal(t, m.StopGracePeriod, 0)
	equal(t, m.DrainTimeout, 24*60*60*second)
	equal(t, m.RevisionHistory, 0)
}

func TestUpdateRefuses(t *testing.T) {
	const beside = `canaries run beside the instances that they are to replace; order "stop-first", a host_port and a volume with a single writer forbid that`
	refusals{
		"no slots":         {`"update": {"max_parallel": 0}`, []string{`update.max_parallel: must be between 1 and 10000, is 0`}},
		"order":            {`"update": {"order": "start_first"}`, []string{`update.order: must be "start-first" or "stop-first", is "start_first"`}},
		"failure action":   {`"update": {"failure_action": "pray"}`, []string{`update.failure_action: must be "rollback", "pause" or "continue", is "pray"`}},
		"never healthy":    {`"update": {"min_healthy_time": "1m", "healthy_deadline": "1m"}`, []string{`update.min_healthy_time: is 1m0s, which can't be over by healthy_deadline, 1m0s`}},
		"with a default":   {`"update": {"healthy_deadline": "5s"}`, []string{`update.min_healthy_time: is 10s, which can't be over by healthy_deadline, 5s`}},
		"early end":        {`"update": {"progress_deadline": "1m"}`, []string{`update.progress_deadline: is 1m0s: the update would fail before its instance must be healthy, by healthy_deadline, 5m0s; 0 is never`}},
		"one error only":   {`"update": {"healthy_deadline": "0s", "min_healthy_time": "1m"}`, []string{`update.healthy_deadline: must be between 1s and 168h0m0s, is 0s`}},
		"canaries":         {`"scale": 2, "update": {"canary": 3}`, []string{`update.canary: is 3, and scale is 2`}},
		"canary alone":     {`"update": {"canary": 1, "order": "stop-first"}`, []string{`update.canary: ` + beside}},
		"canary and port":  {`"update": {"canary": 1}, "services": {"a": {"port": 1, "host_port": 80}}`, []string{`update.canary: ` + beside}},
		"canary and data":  {`"update": {"canary": 1}, "volumes": [{"name": "a", "path": "/a"}]`, []string{`update.canary: ` + beside}},
		"canary of a job":  {`"mode": "job", "update": {"canary": 1}`, []string{`update.canary: mode "job" has none: a job's runs are not updated`}},
		"grace":            {`"stop_grace_period": "2h"`, []string{`stop_grace_period: must be between 0s and 1h0m0s, is 2h0m0s`}},
		"drain null":       {`"drain_timeout": null`, []string{`drain_timeout: must be a duration such as "10s" or "1m30s", is null`}},
		"history":          {`"revision_history": -1`, []string{`revision_history: must be between 0 and 100, is -1`}},
		"attempts":         {`"restart": {"attempts": -2}`, []string{`restart.attempts: must be between -1 and 1000, is -2`}},
		"hot loop":         {`"restart": {"delay": "0s"}`, []string{`restart.delay: must be between 100ms and 1m0s, is 0s`}},
		"restart mode":     {`"restart": {"mode": "x"}`, []string{`restart.mode: must be "fail" or "delay", is "x"`}},
		"fail of none":     {`"restart": {"mode": "fail"}`, []string{`restart.mode: "fail" gives up when the attempts are used up, and attempts are unlimited`}},
		"delay of none":    {`"mode": "job", "restart": {"mode": "delay"}`, []string{`restart.mode: "delay" restarts after the interval, and attempts of 0 never restart`}},
		"restart no limit": {`"restart": {"attempts": "unlimited"}`, []string{`restart.attempts: must be a whole number, is "unlimited"`}},
	}.check(t)
}

func TestDisconnect(t *testing.T) {
	c := parse(t, `"disconnect": {"lost_after": "1m", "replace": false, "stop_on_client_after": "2m", "reconcile": "keep_replacement"}`).Disconnect
	equal(t, c, manifest.Disconnect{LostAfter: 60 * second, StopOnClientAfter: 120 * second, Reconcile: manifest.KeepReplacement})
	c = parse(t, `"disconnect": {"lost_after": null, "stop_on_client_after": null}`).Disconnect
	equal(t, c, manifest.Disconnect{Replace: true, Reconcile: manifest.KeepOriginal})
	const movable = `"volumes": [{"name": "a", "path": "/a", "driver": "ceph"}], `
	c = parse(t, movable+`"disconnect": {"lost_after": "1m", "stop_on_client_after": "30s"}`).Disconnect
	equal(t, c.StopOnClientAfter, 30*second)

	writers := func(stopped, lost string) []string {
		return []string{`disconnect.stop_on_client_after: a lost host may write a volume for ` + stopped + `, with stop_grace_period, ` +
			`and a replacement elsewhere after lost_after, ` + lost + `, which must be longer`}
	}
	refusals{
		"replace":       {`"disconnect": {"replace": "yes"}`, []string{`disconnect.replace: must be true or false, is "yes"`}},
		"replace null":  {`"disconnect": {"replace": null}`, []string{`disconnect.replace: must be true or false, is null`}},
		"reconcile":     {`"disconnect": {"reconcile": "best_score"}`, []string{`disconnect.reconcile: must be "keep_original" or "keep_replacement", is "best_score"`}},
		"two writers":   {movable + `"disconnect": {"lost_after": "1m", "stop_on_client_after": "50s"}`, writers("1m0s", "1m0s")},
		"lease unknown": {movable + `"disconnect": {"stop_on_client_after": "5s"}`, writers("15s", "0s")},
	}.check(t)
}
