package dokkaacfg

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// examinationTimeout is how long all checks may take: what does not answer by then is wrong.
const examinationTimeout = time.Minute

type doctorCommand struct{ output }

func newDoctorCommand(p *invocation) *cobra.Command {
	c := new(doctorCommand)
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check the hosts from the outside in, and say what is wrong and what to do",
		Long: "Doctor looks at each host itself, not at what the cluster says of it: is it reached, does its Docker answer, are our daemons " +
			"healthy, do hosts reach each other, do names resolve, are clocks, disk, memory, etcd and certificates in order. It changes nothing. " +
			"It ends with exit code 1 if something is wrong; what is worth to know but works is no reason.",
		Example: "dokkaacfg doctor\ndokkaacfg doctor -o json | jq -r '.[] | select(.state == \"wrong\") | .do'",
		Args:    exactly(), RunE: p.run(c.Run),
	}
	c.output.flag(cmd)
	return cmd
}

// checkState is the result of a check.
type checkState string

const (
	checkOK    checkState = "ok"
	checkNote  checkState = "note" // it works, but
	checkWrong checkState = "wrong"
)

// finding is what a check found.
type finding struct {
	Host  string     `json:"host,omitempty"` // "" for the cluster
	Check string     `json:"check"`
	State checkState `json:"state"`
	Says  string     `json:"says"`
	Do    string     `json:"do,omitempty"`
}

func fine(check, format string, args ...any) finding {
	return finding{Check: check, State: checkOK, Says: fmt.Sprintf(format, args...)}
}

func notable(check, says, do string) finding {
	return finding{Check: check, State: checkNote, Says: says, Do: do}
}

func wrong(check, says, do string) finding {
	return finding{Check: check, State: checkWrong, Says: says, Do: do}
}

// Run checks everything, and fails if something is wrong.
func (c *doctorCommand) Run(ctx context.Context, s *session) error {
	hosts, err := s.provider.hosts(ctx)
	if err != nil {
		return err
	}
	if len(hosts) == 0 {
		return fmt.Errorf("there is no cluster %s; dokkaacfg up makes it", s.cluster)
	}
	limited, cancel := context.WithTimeout(ctx, examinationTimeout)
	defer cancel()
	found := s.examine(limited, hosts)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := c.write(s.out, found, func() string { return findingsText(found) }); err != nil {
		return err
	}
	ill := 0
	for _, f := range found {
		if f.State == checkWrong {
			ill++
		}
	}
	if ill > 0 {
		return fmt.Errorf("%s wrong", plural(ill, "check is", "checks are"))
	}
	return nil
}

// examine does all checks: of each host at the same time, then of what is between them.
func (s *session) examine(ctx context.Context, hosts []Host) []finding {
	patients := make([]*patient, len(hosts))
	var group errgroup.Group
	for n, host := range hosts {
		group.Go(func() error {
			patients[n] = s.examineHost(ctx, host)
			return nil
		})
	}
	_ = group.Wait() // no examination fails
	for _, p := range patients {
		if p.reached {
			group.Go(func() error {
				p.found = append(p.found, reaches(ctx, p, patients)...)
				return nil
			})
		}
	}
	_ = group.Wait() // likewise
	var all []finding
	for _, p := range patients {
		for _, f := range p.found {
			f.Host = p.host.IP().String()
			all = append(all, f)
		}
	}
	all = append(all, compareClocks(patients), compareVersions(patients))
	all = append(all, s.examineEtcd(ctx, patients)...)
	return append(all, s.examineKeys(ctx)...)
}

// findingsText is what was found, for people, and at the end what to do about it.
func findingsText(found []finding) string {
	var t table
	t.row("HOST", "CHECK", "STATE", "WHAT WAS FOUND")
	for _, f := range found {
		t.row(cmp.Or(f.Host, "cluster"), f.Check, string(f.State), f.Says)
	}
	var text strings.Builder
	text.WriteString(t.String())
	type advice struct{ check, do string }
	var order []advice
	hosts := map[advice][]string{}
	for _, f := range found {
		if f.Do == "" {
			continue
		}
		a := advice{f.Check, f.Do}
		if hosts[a] == nil {
			order = append(order, a)
		}
		hosts[a] = append(hosts[a], cmp.Or(f.Host, "cluster"))
	}
	if len(order) > 0 {
		text.WriteString("\nWhat to do:\n")
	}
	for _, a := range order {
		fmt.Fprintf(&text, "  %s (%s): %s\n", a.check, strings.Join(hosts[a], ", "), a.do)
	}
	return text.String()
}
