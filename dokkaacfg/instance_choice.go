package dokkaacfg

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
)

// instanceFlags say which instance of a container a command is about.
type instanceFlags struct {
	Host string
	Slot int
}

func (f *instanceFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.Host, "host", "", "of the instances on the host with this `address`, also if they are not healthy")
	cmd.Flags().IntVar(&f.Slot, "slot", 0, "the instance with this `number`, as dokkaacfg ps shows it, also if it is not healthy")
}

// particular tells whether one is meant whatever its health is.
func (f instanceFlags) particular() bool { return f.Host != "" || f.Slot != 0 }

// choose are the instances of a container that can be used, the best first: healthy ones, or those
// that are asked for and run. Without any the error says how each is.
func (f instanceFlags) choose(all inventory, ref state.Ref) ([]instanceReport, error) {
	app, known := all.apps[ref]
	if !known {
		return nil, fmt.Errorf("there is no container %s; dokkaacfg ps shows what there is", ref)
	}
	if f.Host != "" {
		if _, _, err := (hostArg{f.Host}).in(all); err != nil {
			return nil, err
		}
	}
	var usable, others []instanceReport
	for _, r := range all.instanceReports(ref.String()) {
		switch {
		case f.Host != "" && r.Host != f.Host || f.Slot != 0 && r.Slot != f.Slot:
		case r.Phase == state.PhaseHealthy && !all.lost(r.Host), f.particular() && r.Phase == state.PhaseRunning && !all.lost(r.Host):
			usable = append(usable, r)
		default:
			others = append(others, r)
		}
	}
	slices.SortStableFunc(usable, func(a, b instanceReport) int { return cmp.Compare(worth(b), worth(a)) })
	if len(usable) > 0 {
		return usable, nil
	}
	return nil, f.none(ref, app, others)
}

// worth orders instances that can be used: those that stay, and are healthy, come first.
func worth(r instanceReport) int {
	n := 0
	if r.Role == roleCurrent {
		n++
	}
	if r.Phase == state.PhaseHealthy {
		n += 2
	}
	return n
}

// lost tells whether nothing is heard of a host.
func (i inventory) lost(ip string) bool { return i.hosts[ip] == nil || i.hosts[ip].lost() }

// none says why no instance can be used, and what to do.
func (f instanceFlags) none(ref state.Ref, app *appKeys, others []instanceReport) error {
	if len(others) == 0 {
		why := "dokkaacfg status says why"
		if app.status != nil {
			why = "it is " + joinText(app.status.State, strings.Join(append(slices.Clone(app.status.Errors), app.status.Waiting...), "; "))
		}
		if f.particular() {
			why = "dokkaacfg ps " + ref.String() + " shows which there are"
		}
		return fmt.Errorf("there is no such instance of %s: %s", ref, why)
	}
	says := fmt.Sprintf("no instance of %s is healthy:", ref)
	if f.particular() {
		says = fmt.Sprintf("no such instance of %s runs:", ref)
	}
	hint := ""
	for _, r := range others {
		says += fmt.Sprintf("\n  %d on %s: %s", r.Slot, r.Host, joinText(cmp.Or(string(r.Phase), "not there yet"), r.Reason))
		if r.Phase == state.PhaseRunning && !f.particular() {
			hint = fmt.Sprintf("\n--slot=%d takes one that is not healthy", r.Slot)
		}
	}
	return fmt.Errorf("%s%s\ndokkaacfg logs %s shows what they write", says, hint, ref)
}
