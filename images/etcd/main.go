// Command etcd is the upstream etcd server of the 3.5 line with the defaults of a Dokkaa host:
// the v2 keys API on, one member on HOST_IP, closed to browsers. Every ETCD_* variable and every
// flag of etcd means what it means upstream, and beats a default of ours.
//
// It is a module of its own so that the server's dependencies stay out of the product's.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	for _, d := range defaults(os.Args[1:], os.LookupEnv) {
		if err := os.Setenv(d.name, d.value); err != nil {
			fmt.Fprintln(os.Stderr, "etcd: set default:", err)
			os.Exit(2)
		}
	}
	if slices.Contains(os.Args[1:], "--healthcheck") {
		if err := checkHealth(context.Background(), healthURL(os.Getenv), os.Getenv); err != nil {
			fmt.Fprintln(os.Stderr, "etcd:", err)
			os.Exit(1)
		}
		return
	}
	etcdmain.Main(os.Args)
}
