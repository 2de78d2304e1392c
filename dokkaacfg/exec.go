package dokkaacfg

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
)

type execCommand struct {
	instanceFlags
	Of         string
	Args       []string
	Stdin      bool
	TTY        bool
	Env        []string
	User       string
	WorkingDir string
}

func newExecCommand(p *invocation) *cobra.Command {
	c := new(execCommand)
	cmd := &cobra.Command{
		Use: "exec [flags] <app>/<name> [--] <command>...", Short: "Run a command in an instance",
		Long: `Run a command in an instance of a container, a healthy one unless it is said which, and end with the command's exit code.
The command must be in the image. It lives as long as dokkaacfg does: when that ends, is killed or loses the connection, the
command gets SIGHUP and SIGTERM, and five seconds later SIGKILL, with all that it started.`,
		Example: "dokkaacfg exec -it dummy/nginx -- /bin/bash\ndokkaacfg exec dummy/nginx -- ls -l /\ndokkaacfg exec -i --slot=2 dummy/db -- psql < dump.sql",
		Args:    andMore(&c.Args, &c.Of), ValidArgsFunction: p.completeFirstContainer, RunE: p.run(c.Run),
		DisableFlagsInUseLine: true,
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what comes after the container is the command's
	flags.BoolVarP(&c.Stdin, "stdin", "i", false, "hand on what is typed or piped in")
	flags.BoolVarP(&c.TTY, "tty", "t", false, "give the command a terminal, of the size of this one")
	flags.StringArrayVarP(&c.Env, "env", "e", nil, "`NAME=value` for the command, besides what the container has; may be repeated")
	flags.StringVarP(&c.User, "user", "u", "", "`user` of the image, or id, that it is run as")
	flags.StringVarP(&c.WorkingDir, "workdir", "w", "", "`directory` in the container that it is run in")
	c.instanceFlags.add(cmd)
	return cmd
}

// Run runs the command, and returns its exit code as an exitCode.
func (c *execCommand) Run(ctx context.Context, s *session) error {
	ref, err := parseRef(c.Of)
	if err != nil {
		return err
	}
	args := commandOf(c.Args)
	switch {
	case len(args) == 0:
		return usageError{"which command? It stands after the container: dokkaacfg exec " + c.Of + " -- ls"}
	case strings.HasPrefix(args[0], "-") && len(args) == len(c.Args):
		return usageError{fmt.Sprintf("flags stand before the container: %s is taken for the command", args[0])}
	case c.TTY && !isTerminal(s.in):
		return usageError{"-t needs a terminal, and what comes in is none"}
	}
	if _, err := parseEnv(c.Env); err != nil {
		return err
	}
	var chosen instanceReport
	err = s.withKeys(ctx, readTimeout, func(ctx context.Context, keys clusterKeys) error {
		all, err := readInventory(ctx, keys)
		if err != nil {
			return err
		}
		usable, err := c.choose(all, ref)
		if err == nil {
			chosen = usable[0]
		}
		return err
	})
	if err != nil {
		return err
	}
	conn, err := s.openStream(ctx, chosen, "exec", nil,
		state.Command{Args: args, Env: c.Env, User: c.User, WorkingDir: c.WorkingDir, TTY: c.TTY, Stdin: c.Stdin})
	if err != nil {
		return err
	}
	terminal := &commandTerminal{conn: conn, in: s.in, out: s.out, errOut: s.errOut, stdin: c.Stdin, tty: c.TTY}
	code, err := terminal.run(ctx)
	if err != nil {
		return fmt.Errorf("%w\nWithout its client the command is ended on host %s", err, chosen.Host)
	}
	return s.passOn(code, ref.String(), args)
}

// passOn is the error that has dokkaacfg end with a command's exit code; it says what those mean by
// which shells, and Docker, tell that there is no such command.
func (s *session) passOn(code int, of string, args []string) error {
	if (code == 126 || code == 127) && len(args) > 0 {
		fmt.Fprintf(s.errOut, "dokkaacfg: exit code %d: the image of %s has no command %s, or it cannot be run: an image has only what it brings\n", code, of, args[0])
	}
	if code != 0 {
		return exitCode(code)
	}
	return nil
}

// commandOf is the command among arguments that it may be set off from by --.
func commandOf(args []string) []string {
	if len(args) > 0 && args[0] == "--" {
		return args[1:]
	}
	return args
}

// exitCode is what a command ended with, as that of dokkaacfg.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }
