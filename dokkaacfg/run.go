package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

type runCommand struct {
	Of   string
	Args []string
	App  string
	Env  []string
	Keep bool
}

func newRunCommand(p *invocation) *cobra.Command {
	c := new(runCommand)
	cmd := &cobra.Command{
		Use: "run [flags] <image> | <app>/<name> [--] [<command>...]", Short: "Run something once, somewhere in the cluster",
		Long: `Run an image once, or a container that there is: with its image, environment, links, secrets and configs, but without its
services, checks and volumes. It becomes a job of a name of its own, which is told, shows what that writes, ends with its exit code,
and removes it. An interrupt removes it too. A host that is lost takes the run with it: it is not run again. The command takes the
place of the manifest's. There is neither input nor a terminal: dokkaacfg exec has both.`,
		Example: "dokkaacfg run dummy/web -- /bin/migrate --all\ndokkaacfg run --env=LEVEL=debug --app=dummy dockerfile/ubuntu -- /bin/bash -c 'echo $LEVEL'",
		Args:    andMore(&c.Args, &c.Of), ValidArgsFunction: p.completeFirstContainer, RunE: p.run(c.Run),
		DisableFlagsInUseLine: true,
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what comes after the image is the command's
	flags.StringVar(&c.App, "app", "run", "`app` that the job of an image is of, whose services it can be linked to")
	flags.StringArrayVarP(&c.Env, "env", "e", nil, "`NAME=value` for the environment; may be repeated")
	flags.BoolVar(&c.Keep, "keep", false, "leave the job and its run when it has ended, or at an interrupt")
	return cmd
}

// Run runs the job to its end, and returns its exit code as an exitCode.
func (c *runCommand) Run(ctx context.Context, s *session) error {
	env, err := parseEnv(c.Env)
	if err != nil {
		return err
	}
	if strings.HasPrefix(c.Of, "-") {
		return usageError{"which image, or container?"}
	}
	return s.withKeys(ctx, writeTimeout, func(ctx context.Context, keys clusterKeys) error {
		job, err := c.job(ctx, keys, env)
		if err != nil {
			return err
		}
		if err := putManifest(ctx, keys, job.ref, job.manifest, 0); err != nil {
			return err
		}
		p := newProgress(s.errOut)
		p.say("runs as job %s", job.ref)
		code, err := s.watchRun(ctx, keys, job.ref, p)
		if c.Keep {
			p.say("job %s stays: dokkaacfg rm %s removes it", job.ref, job.ref)
		} else if removed := removeRun(ctx, keys, job.ref); removed != nil {
			return errors.Join(err, removed)
		}
		if errors.Is(err, context.Canceled) {
			return errors.New("interrupted") // it does not go on when it is called again
		}
		if err != nil {
			return err
		}
		return s.passOn(code, c.Of, commandOf(c.Args))
	})
}

// removeRun removes the job's manifest, also after an interrupt: its hosts and the scheduler do the rest.
func removeRun(ctx context.Context, keys clusterKeys, ref state.Ref) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	if err := keys.Delete(ctx, ref.ManifestKey()); err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w\ndokkaacfg rm %s removes the job", err, ref)
	}
	return nil
}

const (
	runLook = 100 * time.Millisecond
	// runOutputPatience is for the rest of the output of a run that has ended.
	runOutputPatience = 5 * time.Second
)

// watchRun shows what the job's run writes until it has ended, and returns its exit code.
func (s *session) watchRun(ctx context.Context, keys clusterKeys, ref state.Ref, p *progress) (code int, err error) {
	output := &runOutput{session: s}
	defer output.end()
	told := ""
	var outage time.Time
	tick := time.NewTicker(runLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-tick.C:
		}
		app, err := readApp(ctx, keys, ref)
		switch {
		case err != nil && outage.IsZero():
			outage = time.Now()
		case err != nil && (time.Since(outage) > outagePatience || !errors.Is(err, store.ErrUnavailable)):
			return 0, err
		}
		if err != nil {
			continue
		}
		outage = time.Time{}
		if app.manifest == nil {
			return 0, fmt.Errorf("somebody removed job %s", ref)
		}
		if app.status != nil && len(app.status.Errors) > 0 {
			return 0, fmt.Errorf("the cluster refuses the job: %s", strings.Join(app.status.Errors, "; "))
		}
		run, ok := app.runs["1"]
		if !ok || run.Phase == state.RunPending {
			if why := app.waits(); why != "" && why != told {
				told = why
				p.say("waits: %s", why)
			}
			continue
		}
		output.start(ctx, ref, run)
		if run.Phase != state.RunRunning {
			output.finish(run)
			return runCode(ref, run)
		}
		if why := trouble(ctx, keys, run); why != "" && why != told {
			told = why
			p.say("waits: %s", why)
		}
	}
}

// waits is why nothing runs yet.
func (a *appKeys) waits() string {
	if a.status == nil {
		return ""
	}
	return strings.Join(a.status.Waiting, "; ")
}

// trouble is why a run that has a host has no process there, "" if it has one, or nobody knows.
func trouble(ctx context.Context, keys clusterKeys, run state.Run) string {
	node, err := keys.Get(ctx, state.InstanceKey(run.Host, run.Instance))
	var o state.Observed
	if err != nil || unmarshal(node, &o) != nil || o.Phase != state.PhaseFailed {
		return ""
	}
	return o.Reason
}

// runCode is the exit code of a run that has ended.
func runCode(ref state.Ref, run state.Run) (int, error) {
	switch {
	case run.ExitCode != nil && (*run.ExitCode != 0 || run.Phase == state.RunCompleted):
		return *run.ExitCode, nil
	case run.Phase == state.RunCompleted:
		return 0, nil
	}
	return 0, fmt.Errorf("the run of %s %s: %s", ref, run.Phase, run.Reason)
}
