// Command gateway is the door to the cluster's keys on this host.
package main

import (
	"os"

	"github.com/dokkaa/dokkaa/gateway"
	"github.com/dokkaa/dokkaa/internal/daemon"
)

func main() {
	settings := &gateway.Settings{}
	info := daemon.Info{
		Name:        "gateway",
		Description: "The door to the cluster's keys: passes requests on to a member of etcd that answers.",
		HTTPAddr:    "127.0.0.1:4005",
	}
	os.Exit(daemon.Main(info, settings, func(env daemon.Env) (daemon.Daemon, error) {
		return gateway.New(*settings, env)
	}))
}
