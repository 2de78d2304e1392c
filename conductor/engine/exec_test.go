//go:build linux

package engine

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"

	"github.com/dokkaa/dokkaa/internal/docker"
	"github.com/dokkaa/dokkaa/internal/etcdtest"
)

// sleeper is a container with a shell.
func (h *testHost) sleeper(t *testing.T, slot int, instance string) (id string) {
	t.Helper()
	h.load(t, "ubuntu")
	s := spec(slot, instance)
	s.Image, s.Command, s.Ports = "dockerfile/ubuntu", []string{"/bin/bash", "-c", "trap 'exit 3' TERM; while true; do sleep 0.1; done"}, nil
	return h.run(t, s)
}

func testExec(t *testing.T, h *testHost) {
	id := h.sleeper(t, 30, "iexec")
	defer h.stop(t, id)
	bash := func(script string) []string { return []string{"/bin/bash", "-c", script} }
	for name, test := range map[string]struct {
		command []string
		code    int
		output  string
	}{
		"passes":         {bash("echo fine"), 0, "fine"},
		"fails":          {bash("echo no >&2; exit 7"), 7, "no"},
		"says a lot":     {bash("for ((i = 0; i < 20000; i++)); do echo 0123456789; done; echo end"), 0, "end"},
		"leaves a child": {bash("sleep 60 >/dev/null 2>&1 & echo done"), 0, "done"},
		"is not there":   {[]string{"/nowhere"}, 126, ""}, // Docker's word for it, or 127
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			exec, err := h.engine.Exec(ctx, id, test.command, "")
			if err != nil || exec.Running || exec.Code != test.code && (test.code != 126 || exec.Code != 127) || test.output != "" && exec.Output != test.output {
				t.Errorf("got %+v, %v", exec, err)
			}
		})
	}
	t.Run("does not end", func(t *testing.T) {
		run := func(script, after string) Exec {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			exec, err := h.engine.Exec(ctx, id, bash(script), after)
			if err != nil {
				t.Fatal(err)
			}
			return exec
		}
		first := run("echo waiting; sleep 3", "")
		if !first.Running || first.Output != "waiting" {
			t.Errorf("got %+v", first)
		}
		if second := run("echo again", first.ID); !second.Running || second.ID != first.ID {
			t.Errorf("beside the one that runs: %+v", second)
		}
		etcdtest.WaitFor(t, 10*time.Second, func() error {
			if exec := run("echo again", first.ID); exec.Running || exec.Output != "again" {
				return fmt.Errorf("got %+v", exec)
			}
			return nil
		})
	})
	t.Run("cannot be asked", func(t *testing.T) {
		if _, err := h.engine.Exec(t.Context(), "nothing", bash("true"), ""); !docker.IsNotFound(err) {
			t.Errorf("in no container: %v", err)
		}
		if err := h.client.PauseContainer(id); err != nil {
			t.Fatal(err)
		}
		if exec, err := h.engine.Exec(t.Context(), id, bash("true"), ""); err == nil {
			t.Errorf("in a paused container: %+v", exec)
		}
		if err := h.client.UnpauseContainer(id); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("Docker hangs meanwhile", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		resumed := make(chan error, 1)
		time.AfterFunc(500*time.Millisecond, func() { resumed <- h.PauseDocker() })
		exec, err := h.engine.Exec(ctx, id, bash("sleep 1"), "")
		if err == nil {
			t.Errorf("is known: %+v", exec)
		}
		if err := <-resumed; err != nil {
			t.Fatal(err)
		}
		if err := h.ResumeDocker(); err != nil {
			t.Fatal(err)
		}
	})
}

// testImageHealth checks that the list tells what the HEALTHCHECK of an image says.
func testImageHealth(t *testing.T, h *testHost) {
	h.load(t, "ubuntu")
	made, err := h.client.CreateContainer(dockerclient.CreateContainerOptions{Name: "checked", Context: t.Context(),
		Config: &dockerclient.Config{Image: "dockerfile/ubuntu"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.client.CommitContainer(dockerclient.CommitContainerOptions{Container: made.ID, Repository: "checked", Tag: "1", Context: t.Context(),
		Run: &dockerclient.Config{Healthcheck: &dockerclient.HealthConfig{Test: []string{"CMD", "/bin/bash", "-c", "test -e /tmp/well"},
			Interval: time.Second, Retries: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	h.stop(t, made.ID)
	s := spec(31, "ichecked")
	s.Image, s.Command, s.Ports = "checked:1", []string{"/bin/bash", "-c", "sleep 2; touch /tmp/well; sleep 3; rm /tmp/well; sleep 100"}, nil
	id := h.run(t, s)
	defer h.stop(t, id)
	var seen []Health
	etcdtest.WaitFor(t, 20*time.Second, func() error {
		c, _ := h.find(t, s.Instance)
		if len(seen) == 0 || seen[len(seen)-1] != c.Health {
			seen = append(seen, c.Health)
		}
		if got := fmt.Sprint(seen); !strings.HasSuffix(got, "healthy unhealthy]") || c.Up < 3*time.Second {
			return fmt.Errorf("saw %s, up for %s", got, c.Up)
		}
		return nil
	})
	if seen[0] != HealthStarting {
		t.Errorf("saw %v", seen)
	}
}

func testHalt(t *testing.T, h *testHost) {
	id := h.sleeper(t, 32, "ihalt")
	defer h.stop(t, id)
	for range 2 { // what has ended already has ended
		if err := h.engine.Halt(t.Context(), id, 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if c, _ := h.find(t, "ihalt"); c.Status != StatusExited || !strings.HasPrefix(c.Detail, "Exited (3)") {
		t.Errorf("is %+v", c)
	}
	if err := h.engine.Halt(t.Context(), "nothing", time.Second); err != nil {
		t.Errorf("what is gone has ended: %v", err)
	}
	if err := h.engine.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}
