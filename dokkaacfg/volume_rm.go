package dokkaacfg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

type volumeRmCommand struct {
	hostArg
	Volume  string // its name in Docker
	Yes     bool
	Force   bool
	Timeout time.Duration
}

func newVolumeRmCommand(p *invocation) *cobra.Command {
	c := new(volumeRmCommand)
	cmd := &cobra.Command{
		Use: "rm <ip> <volume>", Short: "Remove a volume that nothing uses, with its data",
		Long:    "Remove a volume that nothing uses, with its data, from its host. <volume> is its name in Docker, as volume ls shows it.",
		Example: "dokkaacfg volume rm 10.101.0.1 dummy---db---data",
		Args:    exactly(&c.IP, &c.Volume), ValidArgsFunction: p.completeHosts, RunE: p.run(c.Run),
	}
	yesFlag(cmd, &c.Yes)
	progressFlag(cmd)
	cmd.Flags().BoolVar(&c.Force, "force", false, "on a lost host: forget the volume, so that what waits for it starts elsewhere with an empty one")
	cmd.Flags().DurationVar(&c.Timeout, "timeout", 30*time.Second, "how long to wait until the host has removed it")
	return cmd
}

// Run removes the volume from its host, or forgets it where the host is lost.
func (c *volumeRmCommand) Run(ctx context.Context, s *session) error {
	return s.withKeys(ctx, writeTimeout, func(ctx context.Context, keys clusterKeys) error {
		all, err := readInventory(ctx, keys)
		if err != nil {
			return err
		}
		ip, h, err := c.in(all)
		if err != nil {
			return err
		}
		v, there := h.volumes[c.Volume]
		if !there {
			return fmt.Errorf("host %s has no volume %s; dokkaacfg volume ls shows what there is", ip, c.Volume)
		}
		users := all.usersOf(ip, v)
		switch {
		case h.lost() && !c.Force:
			return fmt.Errorf("host %s is lost, nobody can remove its volumes. --force forgets the volume: what waits for it%s then starts elsewhere with an empty one",
				ip, inBrackets(users))
		case h.lost():
			return c.forget(ctx, s, keys, ip, users)
		case len(users) > 0:
			return fmt.Errorf("volume %s is used by %s; scale down, or remove the manifest, first", c.Volume, strings.Join(users, ", "))
		}
		return c.remove(ctx, s, keys, ip, v)
	})
}

func inBrackets(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	return " (" + strings.Join(texts, ", ") + ")"
}

// remove asks the host to remove the volume, and waits until it has.
func (c *volumeRmCommand) remove(ctx context.Context, s *session, keys clusterKeys, ip string, v state.Volume) error {
	fmt.Fprintf(s.out, "To be removed, with its data: volume %s of %s on host %s\n", c.Volume, v.Ref, ip)
	if err := c.confirm(s); err != nil {
		return err
	}
	if _, err := keys.Set(ctx, state.RemovalKey(ip, c.Volume), "", 0); err != nil {
		return err
	}
	w := removal{host: ip, volume: c.Volume, timeout: c.Timeout, deadline: time.Now().Add(c.Timeout), progress: newProgress(s.out)}
	return follow(ctx, w.progress, func(ctx context.Context) (bool, error) { return w.look(ctx, keys.Store) })
}

// removal is the wait until a host has removed a volume.
type removal struct {
	host, volume string
	timeout      time.Duration
	deadline     time.Time
	progress     *progress
	told         string
}

// look tells what the host says, and whether the volume is gone. The host tries again and again
// while it is asked to.
func (w *removal) look(ctx context.Context, keys *store.Store) (gone bool, err error) {
	_, err = keys.Get(ctx, state.VolumeKey(w.host, w.volume))
	if errors.Is(err, store.ErrNotFound) {
		w.progress.done("removed")
		return true, nil
	}
	if err != nil {
		return false, err
	}
	node, err := keys.Get(ctx, state.RemovalKey(w.host, w.volume))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	said, err := readRemoval(node)
	if err != nil {
		return false, err
	}
	if said.Reason != w.told && said.Reason != "" {
		w.told = said.Reason
		w.progress.done("it is still there: %s", said.Reason)
	}
	if time.Now().Before(w.deadline) {
		return false, nil
	}
	return false, fmt.Errorf("host %s has not removed volume %s within %s: %s\nThe request stays: the host removes the volume as soon as it can",
		w.host, w.volume, w.timeout, cmp.Or(w.told, "it says nothing"))
}

// forget takes the volume of a lost host out of the cluster's memory. No request to remove it is
// left: should the host come back, the data may be wanted after all.
func (c *volumeRmCommand) forget(ctx context.Context, s *session, keys clusterKeys, ip string, users []string) error {
	fmt.Fprintf(s.out, "Host %s is lost. To be forgotten: its volume %s. The data stays on the host; should it come back, volume ls shows it again.\n", ip, c.Volume)
	if len(users) > 0 {
		fmt.Fprintf(s.out, "%s may then start elsewhere with an empty volume.\n", strings.Join(users, ", "))
	}
	if err := c.confirm(s); err != nil {
		return err
	}
	for _, key := range []string{state.RemovalKey(ip, c.Volume), state.VolumeKey(ip, c.Volume)} {
		if err := removeKey(ctx, keys.Store, key); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(s.out, "forgotten")
	return err
}

func (c *volumeRmCommand) confirm(s *session) error {
	if c.Yes {
		return nil
	}
	return s.confirm("the volume's name", c.Volume)
}
