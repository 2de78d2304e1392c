// Package dokkaacfg is the command line: it makes, grows, shows and removes clusters.
package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"

	"github.com/alecthomas/kong"

	"github.com/dokkaa/dokkaa/internal/daemon"
)

// commandLine is what a user can write.
type commandLine struct {
	Provider string           `default:"local" help:"Where the hosts are: local."`
	Cluster  string           `default:"local" help:"Name of the cluster."`
	Subnet   netip.Prefix     `help:"Network of the virtual hosts; default ${subnet}. Two clusters on one machine need two."`
	StateDir string           `default:"/var/lib/dokkaa" help:"Directory of what is kept about clusters, one directory each."`
	Verbose  bool             `help:"Log what happens in detail."`
	Version  kong.VersionFlag `help:"Print the version and exit."`

	Up     upCommand     `cmd:"" help:"Make the cluster, or bring it up to date; add hosts up to --scale."`
	Status statusCommand `cmd:"" help:"Show the hosts, and each container: where it runs, or why not."`
	Down   downCommand   `cmd:"" help:"Remove the cluster and all its data."`
	Demo   demoCommand   `cmd:"" help:"Make a cluster and walk through the documented example on it."`

	Events eventsCommand `cmd:"" help:"Show what happened in the cluster, and why."`

	Host   hostCommand   `cmd:"" help:"Look after hosts: drain, cordon, label, forget."`
	Volume volumeCommand `cmd:"" help:"Look after volumes."`
	Secret secretCommand `cmd:"" help:"Look after secrets, which containers find in files."`
	Config configCommand `cmd:"" help:"Look after configs, which containers find in files."`

	App      appCommand      `cmd:"" help:"Look after containers of apps."`
	Promote  promoteCommand  `cmd:"" help:"Let an update go on whose canaries are good."`
	Wait     waitCommand     `cmd:"" help:"Wait until a container is as its manifest wants it, or cannot be."`
	Settings settingsCommand `cmd:"" help:"Show or change the cluster's settings."`
}

// clusterName is short because names of network interfaces are.
var clusterName = regexp.MustCompile(`^[a-z][a-z0-9]{0,10}$`)

// session is what a command works with.
type session struct {
	cluster  string
	provider provider
	stateDir string
	in       io.Reader
	out      io.Writer
	log      *slog.Logger
	gateway  func(netip.Addr) string // where a host's keys are
}

// usageError is a mistake in how the program was called.
type usageError struct{ message string }

func (e usageError) Error() string { return e.message }

// Main runs the command that args name, and returns the exit code: 0 if it did what it should, 1
// if it did not, 2 for wrong usage.
func Main(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	err := run(ctx, args, in, out, errOut)
	var usage usageError
	switch {
	case err == nil:
		return 0
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
	c, parsed, err := parse(ctx, args, out, errOut)
	if err != nil {
		return err
	}
	if !clusterName.MatchString(c.Cluster) {
		return usageError{fmt.Sprintf("cluster name %q: it must be a lower-case letter and at most 10 more letters and digits", c.Cluster)}
	}
	level := slog.LevelWarn
	if c.Verbose {
		level = slog.LevelDebug
	}
	s := &session{
		cluster: c.Cluster, stateDir: c.StateDir, in: in, out: out,
		log:     slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: level})),
		gateway: gatewayURL,
	}
	s.provider, err = chooseProvider(c, s.log)
	if err != nil {
		return err
	}
	return parsed.Run(s)
}

// parse reads what the user wrote.
func parse(ctx context.Context, args []string, out, errOut io.Writer) (c commandLine, parsed *kong.Context, err error) {
	parser, err := kong.New(&c, kong.Name("dokkaacfg"), kong.Writers(out, errOut),
		kong.Description("Make, grow, show and remove Dokkaa clusters, and look after what runs on them."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"version": "dokkaacfg " + daemon.Version(), "subnet": "10.101.0.0/24", "images": defaultImages(), "manifests": defaultManifests()},
		kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		return c, nil, err
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err = parser.Parse(args)
	if err != nil {
		return c, nil, usageError{err.Error()}
	}
	return c, parsed, nil
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
