//go:build !linux

package dokkaacfg

import (
	"context"
	"log/slog"
	"os/exec"
)

// chooseLocal takes the Docker Engine that is there: virtual hosts are made of Linux.
func chooseLocal(c commandLine, log *slog.Logger) (provider, error) {
	return newOwnEngine(c, "virtual hosts need Linux", log)
}

// commandOn is a command on a host of this machine, which is the machine itself.
func commandOn(ctx context.Context, _ Host, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, name, args...)
}
