package dokkaacfg

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"github.com/spf13/cobra"
)

type openCommand struct {
	Of        string
	NoBrowser bool
	Local     int
}

func newOpenCommand(p *invocation) *cobra.Command {
	c := new(openCommand)
	cmd := &cobra.Command{
		Use: "open <app>/<service>", Short: "Reach a service from this machine, and open it in a browser",
		Long: `Carry connections of this machine to a service, as dokkaacfg port-forward does, and print the URL. On a desktop it is opened in
the browser. It goes on until it is interrupted.`,
		Example: "dokkaacfg open dummy/nginx",
		Args:    exactly(&c.Of), ValidArgsFunction: p.completeFirstContainer, RunE: p.run(c.Run),
	}
	cmd.Flags().BoolVar(&c.NoBrowser, "no-browser", false, "only print the URL")
	cmd.Flags().IntVar(&c.Local, "port", 0, "`port` of this machine; 0 for any that is free")
	return cmd
}

// Run carries connections until ctx ends, which is no failure.
func (c *openCommand) Run(ctx context.Context, s *session) error {
	of, err := parseRef(c.Of)
	if err != nil {
		return err
	}
	return s.withKeys(ctx, readTimeout, func(ctx context.Context, keys clusterKeys) error {
		return s.carry(ctx, keys, tunnelTarget{of: of}, []portPair{{local: c.Local}}, func(ctx context.Context, t *tunnel) {
			url := "http://" + t.addr() + "/"
			fmt.Fprintln(s.out, url)
			if program := browser(runtime.GOOS, os.Getenv); program != "" && !c.NoBrowser {
				// One that cannot be started leaves the URL that was printed.
				if err := exec.CommandContext(ctx, program, url).Run(); err != nil {
					s.log.Debug("no browser", "err", err)
				}
			}
		})
	})
}

// browser is the program that opens a URL on a desktop, "" where there is none.
func browser(system string, getenv func(string) string) string {
	switch {
	case system == "darwin" && getenv("SSH_CONNECTION") == "":
		return "open"
	case getenv("DISPLAY") != "" || getenv("WAYLAND_DISPLAY") != "":
		return "xdg-open"
	}
	return ""
}
