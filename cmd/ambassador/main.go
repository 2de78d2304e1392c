// Command ambassador connects containers to the services that they are linked to.
package main

import (
	"os"

	"github.com/dokkaa/dokkaa/ambassador"
	"github.com/dokkaa/dokkaa/internal/daemon"
)

func main() {
	settings := &ambassador.Settings{}
	info := daemon.Info{
		Name:        "ambassador",
		Description: "Connects containers to the services that they are linked to.",
		HTTPAddr:    "127.0.0.1:4003",
	}
	os.Exit(daemon.Main(info, settings, func(env daemon.Env) (daemon.Daemon, error) {
		return ambassador.New(*settings, env)
	}))
}
