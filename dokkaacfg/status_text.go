package dokkaacfg

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/dokkaa/dokkaa/internal/state"
)

// write writes the report for people.
func (r report) write(to io.Writer) error {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(w, strings.Join(cells, "\t")) }
	row("HOST", "STATE", "VERSION", "CONTAINERS", "WHY")
	for _, h := range r.Hosts {
		row(h.IP, h.State, cmp.Or(h.Version, "-"), strconv.Itoa(h.Containers), h.Reason)
	}
	row()
	fmt.Fprintf(w, "scheduler: %s\n", cmp.Or(r.Scheduler.Host, r.Scheduler.Reason))
	row()
	if len(r.Containers) == 0 {
		row("No containers: there is no manifest below " + state.AppsDir + ".")
	} else {
		row("CONTAINER", "STATE", "WANTED", "RUNNING", "HEALTHY", "REVISION")
	}
	for _, c := range r.Containers {
		row(c.Ref.String(), c.State, strconv.Itoa(c.Wanted), strconv.Itoa(c.Running), strconv.Itoa(c.Healthy), orDash(c.Revision))
	}
	row()
	r.writeSlots(row)
	for _, c := range r.Containers {
		for _, problem := range c.Errors {
			fmt.Fprintf(w, "%s: its manifest is refused: %s\n", c.Ref, problem)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(to, tidy(text.String()))
	return err
}

// writeSlots writes where each instance is.
func (r report) writeSlots(row func(...string)) {
	headed := false
	for _, c := range r.Containers {
		for _, slot := range c.Slots {
			if !headed {
				row("INSTANCE", "HOST", "PHASE", "REVISION", "WHY")
				headed = true
			}
			why := slot.Reason
			if slot.Next != "" {
				why = strings.TrimPrefix(why+"; next: "+slot.Next, "; ")
			}
			row(fmt.Sprintf("%s %d", c.Ref, slot.Slot), cmp.Or(slot.Host, "-"), cmp.Or(string(slot.Phase), "-"), orDash(slot.Revision), why)
		}
	}
	if headed {
		row()
	}
}

func orDash(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

// tidy removes blanks at the ends of lines, and empty lines at the end and one after the other.
func tidy(text string) string {
	var kept []string
	for line := range strings.Lines(strings.TrimSpace(text)) {
		line = strings.TrimRight(line, " \n")
		if line == "" && len(kept) > 0 && kept[len(kept)-1] == "" {
			continue
		}
		kept = append(kept, line)
	}
	return strings.Join(kept, "\n") + "\n"
}
