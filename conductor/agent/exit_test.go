package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
)

func TestExitReasons(t *testing.T) {
	tests := map[string]struct {
		detail string
		exit   engine.Exit
		want   string
	}{
		"plain":              {"Exited (1) 2 seconds ago", engine.Exit{}, "exited with code 1"},
		"its last words":     {"Exited (1) 2 seconds ago", engine.Exit{Log: []string{"no config"}}, "exited with code 1: no config"},
		"no command":         {"Exited (127) 2 seconds ago", engine.Exit{Log: []string{"sh: x: not found"}}, "exited with code 127: the command was not found in the image: sh: x: not found"},
		"not executable":     {"Exited (126) 2 seconds ago", engine.Exit{}, "exited with code 126: the command cannot be executed"},
		"killed":             {"Exited (137) 2 seconds ago", engine.Exit{}, "exited with code 137: killed, by hand or for lack of memory"},
		"too little memory":  {"Exited (137) 2 seconds ago", engine.Exit{OutOfMemory: true}, "exited with code 137: killed for lack of memory"},
		"Docker says little": {"", engine.Exit{}, "exited"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := exitExplained(engine.Container{Detail: test.detail}, test.exit); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestCrashLoopShowsTheLastWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.engine.short, b.engine.exit = true, engine.Exit{Log: []string{"no config"}}
		b.start()
		defer func() { b.stop() }()
		b.assign(idA)
		b.pass(10 * time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseFailed || o.Reason != "exited with code 1: no config" {
			t.Errorf("observed: %+v", o)
		}
	})
}
