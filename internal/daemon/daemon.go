// Package daemon is what every Dokkaa daemon has in common: settings from flags and
// environment, logging, signals, and an operations endpoint with health and metrics.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
)

// Settings are the settings that every daemon has. A daemon embeds them in its own.
type Settings struct {
	HTTPAddr    string           `name:"http-addr" env:"HTTP_ADDR" default:"${http_addr}" help:"Address of /healthz, /readyz and /metrics."`
	LogLevel    slog.Level       `name:"log-level" env:"LOG_LEVEL" default:"info" help:"Least severe level that is logged: debug, info, warn or error."`
	Healthcheck bool             `name:"healthcheck" help:"Ask the daemon that runs at --http-addr whether it is healthy, and exit 0 or 1."`
	Version     kong.VersionFlag `name:"version" help:"Print the version and exit."`
}

// Common gives Main access to the embedded settings.
func (s *Settings) Common() *Settings { return s }

// Daemon is one long-running service.
type Daemon interface {
	// Run blocks until ctx ends, and then returns nil after an orderly end; any other
	// return is a failure of the daemon.
	Run(ctx context.Context) error
	// Ready says why the daemon cannot serve now, nil if it can. It must not block.
	Ready() error
}

// Routes is what a Daemon has that serves more at --http-addr than Main does.
type Routes interface {
	Routes(mux *http.ServeMux)
}

// LameDuck is what a Daemon has that goes on serving for a while after it was told to end: until
// then its clients find out from /readyz.
type LameDuck interface {
	LameDuck() time.Duration
}

// Turns is what a Daemon has that may run beside another of its kind at the same --http-addr, which
// is that one's who serves.
type Turns interface {
	// Turn waits until the daemon serves, and returns a context that ends when another does in its
	// place. It errs when ctx ends.
	Turn(ctx context.Context) (context.Context, error)
}

// Info describes a daemon to Main.
type Info struct {
	Name        string // of the binary
	Description string // one sentence for --help
	HTTPAddr    string // default of --http-addr
	// SingleDash accepts the flags with one dash as well, as programs do that use package flag.
	SingleDash bool
	// Instead, if there is one, is asked after the settings were parsed whether the process has
	// something else to do than to serve, and does it.
	Instead func(out io.Writer) (done bool, err error)
}

// Env is what a daemon is built with.
type Env struct {
	Log     *slog.Logger
	Metrics *prometheus.Registry
}

// Main parses the settings, builds the daemon with build, runs it until SIGTERM or SIGINT,
// and returns the exit code: 0 after an orderly end, 1 after a failure, 2 for wrong usage.
// A second signal exits at once.
func Main(info Info, settings interface{ Common() *Settings }, build func(Env) (Daemon, error)) int {
	return run(info, settings, build, os.Args[1:], os.Stdout, os.Stderr)
}

func run(info Info, settings interface{ Common() *Settings }, build func(Env) (Daemon, error), args []string, stdout, stderr io.Writer) int {
	parser, err := kong.New(settings, kong.Name(info.Name), kong.Description(info.Description),
		kong.Vars{"http_addr": info.HTTPAddr, "version": info.Name + " " + Version()})
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	if err := dropEmpty(parser); err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	if info.SingleDash {
		args = DoubleDashes(args)
	}
	if _, err := parser.Parse(args); err != nil {
		fmt.Fprintf(stderr, "%s: %v (see --help)\n", info.Name, err)
		return 2
	}
	common := settings.Common()
	if common.Healthcheck {
		if err := checkHealth(common.HTTPAddr, ownContainer()); err != nil {
			fmt.Fprintln(stderr, err)
			return 1
		}
		return 0
	}
	if info.Instead != nil {
		done, err := info.Instead(stdout)
		if err != nil {
			fmt.Fprintf(stderr, "%s: %v\n", info.Name, err)
			return 1
		}
		if done {
			return 0
		}
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: common.LogLevel}))
	if err := serve(info, common, log, build); err != nil {
		log.Error(info.Name+" ended", "err", err)
		return 1
	}
	return 0
}

func serve(info Info, common *Settings, log *slog.Logger, build func(Env) (Daemon, error)) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	// After the first signal the default action is back: a second one ends the process.
	context.AfterFunc(ctx, stop)
	defer stop()

	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	d, err := build(Env{Log: log, Metrics: registry})
	if err != nil {
		return err
	}
	operate, err := operations(common.HTTPAddr, operationsHandler(ctx, d, registry), d)
	if err != nil {
		return err
	}
	log.Info(info.Name+" starts", "version", Version(), "operations", common.HTTPAddr)
	serving, endServing := afterLameDuck(ctx, d)
	defer endServing()
	group, serving := errgroup.WithContext(serving)
	// The operations are there until the daemon has ended.
	operating, endOperations := context.WithCancel(context.Background())
	defer endOperations()
	group.Go(func() error { return operate(operating) })
	group.Go(func() error {
		defer endOperations()
		if err := d.Run(serving); err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		if serving.Err() == nil {
			return errors.New("ended without being asked to")
		}
		return nil
	})
	err = group.Wait()
	if err == nil {
		log.Info(info.Name + " ended")
	}
	return err
}

// afterLameDuck is a context that ends when ctx has ended and the daemon's time as a lame duck is
// over.
func afterLameDuck(ctx context.Context, d Daemon) (context.Context, context.CancelFunc) {
	duck, ok := d.(LameDuck)
	if !ok {
		return context.WithCancel(ctx)
	}
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(duck.LameDuck(), end) })
	return serving, end
}

// DoubleDashes writes flags like -name with two dashes. One letter is a short flag, and what does
// not begin with a letter a value.
func DoubleDashes(args []string) []string {
	doubled := make([]string, len(args))
	for i, arg := range args {
		if arg == "--" {
			copy(doubled[i:], args[i:])
			break
		}
		name, isFlag := strings.CutPrefix(arg, "-")
		if isFlag && len(name) > 1 && 'a' <= name[0] && name[0] <= 'z' {
			arg = "-" + arg
		}
		doubled[i] = arg
	}
	return doubled
}

// dropEmpty removes the settings' environment variables that are empty: who writes NAME= means that
// there is none.
func dropEmpty(parser *kong.Kong) error {
	for _, flag := range parser.Model.Flags {
		for _, name := range flag.Envs {
			if value, set := os.LookupEnv(name); set && value == "" {
				if err := os.Unsetenv(name); err != nil {
					return fmt.Errorf("drop environment variable %s: %w", name, err)
				}
			}
		}
	}
	return nil
}
