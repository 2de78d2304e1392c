// Package dokkaacfg is the command line: it makes, grows, shows and removes clusters.
package dokkaacfg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/dokkaacfg/digitalocean"
)

// commandLine is what a user can write with each command.
type commandLine struct {
	Provider string
	Cluster  string
	Subnet   netip.Prefix // the zero value is the default
	StateDir string
	Verbose  bool
	Registry string // of our images, "" for none

	DigitalOcean digitalocean.Options
	Given        givenHosts
	Doors        doorFlags
}

// invocation is one call of dokkaacfg.
type invocation struct {
	commandLine
	in          io.Reader
	out, errOut io.Writer
	open        func(*invocation) (*session, error) // what a command works with
	started     bool                                // a command runs: what fails now is no wrong usage
}

func newInvocation(in io.Reader, out, errOut io.Writer) *invocation {
	return &invocation{in: in, out: out, errOut: errOut, open: openSession}
}

// clusterName is short because names of network interfaces are.
var clusterName = regexp.MustCompile(`^[a-z][a-z0-9]{0,10}$`)

// session is what a command works with.
type session struct {
	cluster  string
	provider provider
	stateDir string
	registry string // of our images, "" for none
	in       io.Reader
	out      io.Writer
	errOut   io.Writer // for what a command in an instance complains of
	log      *slog.Logger
	doors    doors

	hostClient *http.Client
}

// close ends what the session and its provider have open.
func (s *session) close() {
	s.hostClient.CloseIdleConnections()
	if p, ok := s.provider.(interface{ close() }); ok {
		p.close()
	}
}

// usageError is a mistake in how the program was called.
type usageError struct{ message string }

func (e usageError) Error() string { return e.message }

// Main runs the command that args name, and returns the exit code: 0 if it did what it should, 1
// if it did not, 2 for wrong usage; or that of what it ran for the user.
func Main(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	err := run(ctx, args, in, out, errOut)
	var usage usageError
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &usage):
		fmt.Fprintf(errOut, "dokkaacfg: %v (see --help)\n", err)
		return 2
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintln(errOut, "dokkaacfg: interrupted; the same command takes up where it stopped")
		return 1
	default:
		fmt.Fprintf(errOut, "dokkaacfg: %v\n", err)
		return 1
	}
}

func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) error {
	return newInvocation(in, out, errOut).execute(ctx, args)
}

// execute runs the command that args name.
func (p *invocation) execute(ctx context.Context, args []string) error {
	root := newRoot(p)
	root.SetArgs(append([]string{}, args...)) // with nil, cobra would take those of the process
	err := root.ExecuteContext(ctx)
	if err != nil && !p.started {
		return usageError{err.Error()}
	}
	return err
}

// run is what cobra calls for a command.
func (p *invocation) run(command func(context.Context, *session) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) (err error) {
		p.started = true
		end := p.showing(cmd)
		defer func() { end(err) }()
		s, err := p.open(p)
		if err != nil {
			return err
		}
		defer s.close()
		return command(cmd.Context(), s)
	}
}

// openSession makes what a command works with of what the user wrote.
func openSession(p *invocation) (*session, error) {
	if err := p.findProvider(); err != nil {
		return nil, err
	}
	if !clusterName.MatchString(p.Cluster) {
		return nil, usageError{fmt.Sprintf("cluster name %q: it must be a lower-case letter and at most 10 more letters and digits", p.Cluster)}
	}
	level := slog.LevelWarn
	if p.Verbose {
		level = slog.LevelDebug
	}
	s := &session{
		cluster: p.Cluster, stateDir: p.StateDir, registry: p.Registry, in: p.in, out: p.out, errOut: p.errOut,
		log: slog.New(slog.NewTextHandler(p.errOut, &slog.HandlerOptions{Level: level})),
	}
	var err error
	if s.provider, err = chooseProvider(p.commandLine, s.log); err != nil {
		return nil, err
	}
	return s, s.openDoors()
}

// findProvider fills in what the user left out: the provider that the cluster is known to be of, and the
// cluster's name.
func (c *commandLine) findProvider() error {
	if c.Provider == "" && c.Cluster != "" {
		dir, err := keptDir()
		if err != nil {
			return err
		}
		kept, err := readContext(filepath.Join(dir, c.Cluster))
		if err != nil {
			return err
		}
		c.Provider = kept.Provider
	}
	c.Provider = cmp.Or(c.Provider, "local")
	c.Cluster = cmp.Or(c.Cluster, defaultCluster(c.Provider))
	return nil
}

// defaultCluster is the name of a cluster that was given none.
func defaultCluster(provider string) string {
	if provider == "local" {
		return "local"
	}
	return "dokkaa"
}

// defaultImages is the directory of the images that were built with this program, or where "make
// images" puts them.
func defaultImages() string { return besideProgram("images", filepath.Join("build", "images")) }

// defaultManifests is the directory of the example's manifests.
func defaultManifests() string {
	dir := filepath.Join("examples", "nginx-and-crawler")
	return besideProgram(filepath.Join("..", dir), besideProgram(dir, dir))
}

// besideProgram is the directory dir beside that of this program, or fallback if there is none.
func besideProgram(dir, fallback string) string {
	program, err := os.Executable()
	if err != nil {
		return fallback
	}
	dir = filepath.Join(filepath.Dir(filepath.Dir(program)), dir)
	if _, err := os.Stat(dir); err != nil {
		return fallback
	}
	return dir
}
