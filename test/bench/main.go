//go:build linux

// Command bench measures what the cluster promises, beside a bare Docker Engine doing the same,
// on a cluster of virtual hosts that it makes and removes. It needs root, and what "make images"
// builds. Nothing depends on what it measures: it fails only if something does not happen at all.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/dokkaa/dokkaa/test/bench/proxies"
)

// options are the command line.
type options struct {
	Out         string   `help:"File to write the tables to, beside standard output." type:"path"`
	Only        []string `help:"What to measure, of ${enum}; all if not given." enum:"${parts}"`
	Rounds      int      `help:"How often each start and restart is measured." default:"8"`
	Outages     int      `help:"How often each outage is measured." default:"3"`
	Cluster     string   `help:"Name of the cluster to make." default:"e2ebench"`
	Subnet      string   `help:"Its network." default:"10.116.0.0/24"`
	SwarmSubnet string   `help:"The network of the swarm that it is compared with." default:"10.117.0.0/24"`
	Binaries    string   `help:"Directory of the built binaries." default:"build/bin" type:"path"`
	Images      string   `help:"Directory of the built images." default:"build/images" type:"path"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	served, err := proxies.Serve(ctx)
	if !served {
		var o options
		kong.Parse(&o, kong.Description("Measure what the cluster promises."), kong.Vars{"parts": strings.Join(partNames, ",")})
		err = run(ctx, o, os.Stdout, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// run measures, and writes the report; where a part failed to standard output only.
func run(ctx context.Context, o options, out, progress io.Writer) error {
	report, failed := measure(ctx, o, progress)
	text := report.markdown()
	if _, err := io.WriteString(out, text); err != nil {
		return errors.Join(failed, err)
	}
	if o.Out == "" || failed != nil {
		return failed
	}
	if err := os.WriteFile(o.Out, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
