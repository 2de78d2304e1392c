// Dokkaacfg makes, shows and removes Dokkaa clusters.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/dokkaa/dokkaa/dokkaacfg"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	// After the first signal the default action is back: a second one ends the process.
	context.AfterFunc(ctx, stop)
	os.Exit(dokkaacfg.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
