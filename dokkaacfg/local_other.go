//go:build !linux

package dokkaacfg

import "log/slog"

// chooseLocal takes the Docker Engine that is there: virtual hosts are made of Linux.
func chooseLocal(c commandLine, log *slog.Logger) (provider, error) {
	return newOwnEngine(c, "virtual hosts need Linux", log)
}
