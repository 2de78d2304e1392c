// Command skydns is the cluster's nameserver: one per host, with the records of etcd in memory.
package main

import (
	"io"
	"os"

	"github.com/dokkaa/dokkaa/internal/daemon"
	"github.com/dokkaa/dokkaa/skydns"
)

func main() {
	var settings skydns.Settings
	os.Exit(daemon.Main(daemon.Info{
		Name:        "skydns",
		Description: "Answers for the services of the cluster, and forwards all other names.",
		HTTPAddr:    "127.0.0.1:4004",
		SingleDash:  true,
		Instead: func(out io.Writer) (bool, error) {
			if !settings.Check {
				return false, nil
			}
			return true, skydns.Check(&settings, out)
		},
	}, &settings, func(env daemon.Env) (daemon.Daemon, error) { return skydns.NewDaemon(&settings, env) }))
}
