package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
)

type demoCommand struct {
	Scale     int
	Images    string
	Manifests string
}

func newDemoCommand(p *invocation) *cobra.Command {
	c := new(demoCommand)
	cmd := &cobra.Command{
		Use: "demo", Short: "Make a cluster and walk through the documented example on it",
		Example: "dokkaacfg demo\ndokkaacfg --cluster=second --subnet=10.102.0.0/24 demo --scale=3",
		Args:    exactly(), RunE: p.run(c.Run),
	}
	cmd.Flags().IntVar(&c.Scale, "scale", 2, "`number` of hosts")
	cmd.Flags().StringVar(&c.Images, "images", defaultImages(), "`directory` of the images")
	cmd.Flags().StringVar(&c.Manifests, "manifests", defaultManifests(), "`directory` of the example's manifests")
	return cmd
}

const (
	demoTimeout = 3 * time.Minute // until both containers are healthy, on a slow machine
	pageTimeout = time.Minute
	welcome     = "Welcome to nginx"
)

var (
	nginx   = state.Ref{App: "dummy", Name: "nginx"}
	crawler = state.Ref{App: "dummy", Name: "crawler"}
)

// Run walks through the documented example. It returns nil only if the page was seen.
func (d *demoCommand) Run(ctx context.Context, s *session) error {
	release, err := s.lock()
	if err != nil {
		return err
	}
	defer release()
	p := newProgress(s.out)
	// Where there is one host only, the example runs on that.
	hosts, err := s.up(ctx, p, min(d.Scale, s.provider.maxScale()), d.Images, "")
	if err != nil {
		return err
	}
	if err := d.putManifests(ctx, p, hosts[0].IP()); err != nil {
		return err
	}
	placed, err := s.waitPlaced(ctx, p, hosts)
	if err != nil {
		return err
	}
	if err := s.showPage(ctx, p, hosts, placed[crawler]); err != nil {
		return err
	}
	p.title("It works, after %s. Try next", p.total())
	s.suggest(p, hosts, placed)
	return nil
}

// putManifests puts both manifests with the command that the documentation has.
func (d *demoCommand) putManifests(ctx context.Context, p *progress, host netip.Addr) error {
	p.title("Two manifests, put by curl through host %s", host)
	if err := installPrograms(ctx, p, []program{curlProgram}); err != nil {
		return err
	}
	for _, ref := range []state.Ref{nginx, crawler} {
		manifest, err := os.ReadFile(filepath.Join(d.Manifests, ref.Name+".json"))
		if err != nil {
			return fmt.Errorf("read manifest (--manifests says where it is): %w", err)
		}
		command := putCommand(host, ref)
		p.say("%s.json:", ref.Name)
		p.quote(strings.TrimSpace(string(manifest)))
		p.say("$ %s", command)
		limited, cancel := context.WithTimeout(ctx, requestTimeout)
		cmd := exec.CommandContext(limited, "sh", "-c", command)
		cmd.Dir = d.Manifests
		out, err := cmd.Output()
		cancel()
		// curl ends with 0 also when the gateway refuses.
		if err != nil || !strings.Contains(string(out), `"action"`) {
			return fmt.Errorf("put manifest %s: %w: %s", ref, orRefused(err), out)
		}
		p.done("put")
	}
	return nil
}

func orRefused(err error) error {
	if err == nil {
		return errors.New("the gateway refuses")
	}
	return err
}

// putCommand is the documented command.
func putCommand(host netip.Addr, ref state.Ref) string {
	return fmt.Sprintf("curl -L -XPUT --data-urlencode value=\"`cat %s.json`\" %s/v2/keys%s", ref.Name, doors{}.gateway(host), ref.ManifestKey())
}

// waitPlaced waits until both containers are healthy, each on a host of its own if there are two,
// and tells what happens meanwhile. It returns where they are.
func (s *session) waitPlaced(ctx context.Context, p *progress, hosts []Host) (map[state.Ref]string, error) {
	p.title("The scheduler gives each container a host, the hosts' conductors run them")
	var placed map[state.Ref]string
	told := map[state.Ref]string{}
	err := s.withKeys(ctx, readTimeout, func(ctx context.Context, keys clusterKeys) error {
		return poll(ctx, demoTimeout, func(ctx context.Context) error {
			r, err := s.report(ctx, keys)
			if err != nil {
				return err
			}
			placed = map[state.Ref]string{}
			missing := ""
			for _, ref := range []state.Ref{nginx, crawler} {
				where, what := r.placement(ref)
				if told[ref] != what {
					told[ref] = what
					p.done("%s: %s", ref, what)
				}
				if where == "" {
					missing = fmt.Sprintf("%s: %s", ref, what)
				}
				placed[ref] = where
			}
			if missing != "" {
				return fmt.Errorf("the example is not running yet: %s", missing)
			}
			if len(hosts) > 1 && placed[nginx] == placed[crawler] {
				return fmt.Errorf("both containers are on host %s", placed[nginx])
			}
			return nil
		})
	})
	return placed, err
}

// placement is the host of the container's first healthy instance, "" if there is none, and how
// the container is in words.
func (r report) placement(ref state.Ref) (where, what string) {
	for _, c := range r.Containers {
		if c.Ref != ref {
			continue
		}
		if len(c.Errors) > 0 {
			return "", "its manifest is refused: " + strings.Join(c.Errors, "; ")
		}
		for _, slot := range c.Slots {
			what = describeSlot(slot)
			if slot.Phase == state.PhaseHealthy && slot.Next == "" {
				return slot.Host, what
			}
		}
		if what == "" {
			what = c.State
		}
		return "", what
	}
	return "", "not known yet"
}

func describeSlot(slot state.SlotStatus) string {
	what := string(slot.Phase)
	if slot.Host != "" {
		what += " on host " + slot.Host
	}
	if slot.Reason != "" {
		what += ": " + slot.Reason
	}
	return what
}

// showPage waits until the crawler's own log has the page, and shows it.
func (s *session) showPage(ctx context.Context, p *progress, hosts []Host, where string) error {
	const container = "dummy---crawler"
	p.title("The crawler's own log: docker logs %s, on host %s", container, where)
	engine, err := s.engineOf(ctx, hosts, where)
	if err != nil {
		return err
	}
	since := time.Now() // what it logged before proves nothing about now
	var page string
	err = poll(ctx, pageTimeout, func(ctx context.Context) error {
		log, err := engine.logs(ctx, container, since, "200")
		if err != nil {
			return err
		}
		page, err = lastPage(log)
		return err
	})
	if err != nil {
		return fmt.Errorf("see the page in the crawler's log: %w", err)
	}
	p.quote(page)
	p.done("nginx's page came through the ambassador")
	return nil
}

// lastPage is the last whole page in the log.
func lastPage(log string) (string, error) {
	end := strings.LastIndex(log, "</html>")
	if end >= 0 {
		page := log[:end+len("</html>")]
		if start := strings.LastIndex(page, "<!DOCTYPE"); start >= 0 && strings.Contains(page[start:], welcome) {
			return page[start:], nil
		}
	}
	return "", fmt.Errorf("there is no %q in it yet; it ends with: %s", welcome, log[max(0, len(log)-300):])
}

func (s *session) engineOf(ctx context.Context, hosts []Host, ip string) (*engine, error) {
	for _, host := range hosts {
		if host.IP().String() == ip {
			return connect(ctx, host, s.log)
		}
	}
	return nil, fmt.Errorf("there is no host %s", ip)
}

// suggest says what can be done with the cluster.
func (s *session) suggest(p *progress, hosts []Host, placed map[state.Ref]string) {
	any := hosts[0].IP()
	program := os.Args[0]
	flags := ""
	if s.cluster != "local" {
		flags = " --cluster=" + s.cluster
	}
	docker := "docker"
	for _, host := range hosts {
		if host.IP().String() == placed[nginx] {
			docker += " -H " + host.DockerHost()
		}
	}
	for _, line := range []string{
		"see how it is:        " + program + flags + " status",
		"four web servers:     curl -L -XPUT --data-urlencode value='{\"image\": \"dockerfile/nginx\", \"scale\": 4, \"services\": {\"nginx\": 80}}' " + doors{}.gateway(any) + "/v2/keys" + nginx.ManifestKey(),
		"where they are:       dig +short SRV nginx.dummy.skydns.local @" + any.String(),
		"break one:            " + docker + " kill dummy---nginx",
		"take it all down:     " + program + flags + " down --yes",
	} {
		p.say("%s", line)
	}
}
