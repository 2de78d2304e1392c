package agent

import (
	"encoding/json"
	"testing"

	"github.com/dokkaa/dokkaa/internal/state"
)

func TestEventsOfAnInstance(t *testing.T) {
	type observed = state.Observed
	pulling, starting := observed{Phase: state.PhasePulling, Reason: "image nginx"}, observed{Phase: state.PhaseStarting}
	running, healthy := observed{Phase: state.PhaseRunning}, observed{Phase: state.PhaseHealthy}
	refuses, slow := observed{Phase: state.PhaseRunning, Reason: "port 80 refuses"}, observed{Phase: state.PhaseRunning, Reason: "timeout"}
	exited, stopping := observed{Phase: state.PhaseFailed, Reason: "exited with code 1"}, observed{Phase: state.PhaseStopping}
	drains2, drains1 := observed{Phase: state.PhaseStopping, Reason: drainingText(2, nil)}, observed{Phase: state.PhaseStopping, Reason: drainingText(1, nil)}
	for name, test := range map[string]struct {
		before, now observed
		want        string
	}{
		"assigned":            {observed{}, pulling, ""},
		"pulled":              {pulling, starting, ""},
		"started":             {starting, running, ""},
		"never healthy":       {starting, refuses, "running"},
		"healthy":             {running, healthy, "healthy"},
		"healthy as before":   {healthy, observed{Phase: state.PhaseHealthy, Restarts: 1, Reason: "cannot be renamed"}, ""},
		"unhealthy":           {healthy, refuses, "unhealthy"},
		"unhealthy, why not?": {healthy, running, "unhealthy"},
		"for another reason":  {refuses, slow, "unhealthy"},
		"as unhealthy":        {refuses, refuses, ""},
		"no reason any more":  {refuses, running, ""},
		"exits":               {healthy, exited, "failed"},
		"exits again":         {exited, exited, ""},
		"restarted":           {exited, starting, ""},
		"not pulled":          {exited, observed{Phase: state.PhaseFailed, Reason: "no such image"}, "failed"},
		"gives up":            {exited, observed{Phase: state.PhaseFailed, Reason: "exited with code 1", GaveUp: true}, "gave up"},
		"stopping":            {healthy, stopping, "stopping"},
		"drains":              {stopping, drains2, "stopping"},
		"drains on":           {drains2, drains1, ""},
		"drained":             {drains1, stopping, ""},
		"cannot be removed":   {drains1, observed{Phase: state.PhaseStopping, Reason: "cannot be removed"}, "stopping"},
		"ended":               {running, observed{Phase: state.PhaseEnded}, "ended"},
	} {
		if got := eventKind(test.before, test.now); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestEventsTellOfInstancesOnly(t *testing.T) {
	var told []state.Event
	a := &Agent{Options: Options{HostIP: "10.0.0.1", Events: func(e state.Event) { told = append(told, e) }}}
	value, err := json.Marshal(state.Observed{Ref: state.Ref{App: "dummy", Name: "nginx"}, Slot: 2, Phase: state.PhaseFailed, Reason: "exited"})
	if err != nil {
		t.Fatal(err)
	}
	a.tell(state.InstanceKey("10.0.0.1", "i1"), "garbage", string(value))
	a.tell(state.InstanceKey("10.0.0.1", "i1"), string(value), string(value))
	a.tell(state.InstanceKey("10.0.0.1", "i1"), string(value), "garbage")
	a.tell(state.RecordKey("dummy", "nginx", "i1"), "", string(value))
	want := state.Event{Kind: "failed", Host: "10.0.0.1", App: "dummy", Name: "nginx", Slot: 2, Instance: "i1", Reason: "exited"}
	if len(told) != 1 || told[0] != want {
		t.Errorf("told of %+v, want %+v", told, want)
	}
	(&Agent{}).tell(state.InstanceKey("10.0.0.1", "i1"), "", string(value)) // nobody listens
}
