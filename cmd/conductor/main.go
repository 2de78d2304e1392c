// Command conductor runs one host of a Dokkaa cluster.
package main

import (
	"context"
	"io"
	"os"

	"github.com/dokkaa/dokkaa/conductor"
	"github.com/dokkaa/dokkaa/internal/daemon"
)

func main() {
	var settings conductor.Settings
	os.Exit(daemon.Main(daemon.Info{
		Name:        "conductor",
		Description: "Runs this host's share of the cluster's containers, and on one host at a time the scheduler.",
		HTTPAddr:    conductor.DefaultHTTPAddr,
		Instead:     func(io.Writer) (bool, error) { return settings.Instead(context.Background()) },
	}, &settings, func(env daemon.Env) (daemon.Daemon, error) { return conductor.New(settings, env) }))
}
