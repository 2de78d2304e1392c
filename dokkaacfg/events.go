package dokkaacfg

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

type eventsCommand struct {
	output
	Follow bool
	Of     string // the application or the container whose events are shown, "" for all
}

func newEventsCommand(p *invocation) *cobra.Command {
	c := new(eventsCommand)
	cmd := &cobra.Command{
		Use: "events [<app>[/<name>]]", Short: "Show what happened in the cluster, and why",
		Example: "dokkaacfg events dummy\ndokkaacfg events -f dummy/nginx",
		Args:    atMost(&c.Of), ValidArgsFunction: p.completeContainers, RunE: p.run(c.Run),
	}
	cmd.Flags().BoolVarP(&c.Follow, "follow", "f", false, "go on, and show events as they happen")
	c.output.flag(cmd)
	return cmd
}

// Run shows what happened in the cluster.
func (c *eventsCommand) Run(ctx context.Context, s *session) error {
	show := eventPrinter{out: s.out, zone: time.Local, form: c.output}
	var named bool
	show.app, show.name, named = strings.Cut(c.Of, "/")
	if named && (show.app == "" || show.name == "" || strings.Contains(show.name, "/")) {
		return usageError{fmt.Sprintf("%q is neither an application nor a container, <app>/<name>", c.Of)}
	}
	quiet := *s
	if !s.log.Enabled(ctx, slog.LevelDebug) {
		quiet.log = slog.New(slog.DiscardHandler) // an outage is told of in the events' place
	}
	return quiet.withKeys(ctx, readTimeout, func(ctx context.Context, keys clusterKeys) error {
		past, err := keys.List(ctx, state.EventsDir)
		if err != nil {
			return err
		}
		if err := show.past(past.Nodes); err != nil || !c.Follow {
			return err
		}
		return show.follow(ctx, keys.NewMirror(state.EventsDir))
	})
}

// eventPrinter writes events: for people and as JSON a line each, as YAML a document each.
type eventPrinter struct {
	out       io.Writer
	form      output
	zone      *time.Location
	app, name string // whose events are shown, "" for any

	last uint64 // index of the newest event that was seen
}

// past shows the events that there are in the order in which they happened. That is not quite the
// one in which they were written down.
func (p *eventPrinter) past(nodes []store.Node) error {
	var events []state.Event
	for _, node := range nodes {
		p.last = max(p.last, node.Modified)
		events = append(events, readEvent(node))
	}
	slices.SortStableFunc(events, func(a, b state.Event) int { return a.Time.Compare(b.Time) })
	return p.print(events)
}

// follow shows the events that the mirror gets, until ctx ends.
func (p *eventPrinter) follow(ctx context.Context, mirror *store.Mirror) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = mirror.Run(ctx) }) // returns nothing but nil
	defer running.Wait()
	defer cancel()
	away := false
	for err == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-mirror.Hint():
		}
		snapshot := mirror.Snapshot()
		if is := !snapshot.Known && snapshot.Err != nil; is != away {
			away = is
			if away {
				err = p.say("the cluster's keys cannot be read, waiting: %v", snapshot.Err)
			} else {
				err = p.say("the cluster's keys can be read again")
			}
		}
		if err == nil {
			err = p.print(p.news(snapshot))
		}
	}
	return err
}

// news are the events that were not seen before.
func (p *eventPrinter) news(snapshot store.Snapshot) (events []state.Event) {
	for node := range snapshot.All(state.EventsDir) {
		if node.Modified > p.last {
			events = append(events, readEvent(node))
		}
	}
	p.last = max(p.last, snapshot.Index)
	return events
}

// readEvent reads an event. One that cannot be read is told of as one.
func readEvent(node store.Node) state.Event {
	var e state.Event
	if err := json.Unmarshal([]byte(node.Value), &e); err != nil {
		return state.Event{Kind: "unreadable", Reason: fmt.Sprintf("%s cannot be read: %v", node.Key, err)}
	}
	return e
}

func (p *eventPrinter) print(events []state.Event) error {
	for _, e := range events {
		if e.LeftOut > 0 { // whose they were nobody knows
			if err := p.say("%d events are missing here: they could not be written", e.LeftOut); err != nil {
				return err
			}
		}
		if p.app != "" && e.App != p.app || p.name != "" && e.Name != p.name {
			continue
		}
		if p.form != "" {
			if err := p.write(e); err != nil {
				return err
			}
			continue
		}
		line := fmt.Sprintf("%-19s  %-11s  %-24s  %-15s  %s", p.moment(e.Time), e.Kind, eventSubject(e), cmp.Or(e.Host, "-"), e.Reason)
		if _, err := fmt.Fprintln(p.out, strings.TrimRight(oneLine(line), " ")); err != nil {
			return err
		}
	}
	return nil
}

// write writes an event for programs.
func (p *eventPrinter) write(e state.Event) error {
	if p.form == outputJSON {
		_, err := fmt.Fprintln(p.out, asJSON(e))
		return err
	}
	if _, err := fmt.Fprintln(p.out, "---"); err != nil {
		return err
	}
	return writeYAML(p.out, e)
}

// say writes a line that is no event, for people.
func (p *eventPrinter) say(format string, args ...any) error {
	if p.form != "" {
		return nil // what is missing is with the event after it
	}
	_, err := fmt.Fprintln(p.out, "-- "+oneLine(fmt.Sprintf(format, args...)))
	return err
}

func (p *eventPrinter) moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.In(p.zone).Format(time.DateTime)
}

// eventSubject is what an event is about: a slot, a container, or nothing but its host.
func eventSubject(e state.Event) string {
	switch {
	case e.App == "":
		return "-"
	case e.Slot == 0:
		return state.Ref{App: e.App, Name: e.Name}.String()
	}
	return fmt.Sprintf("%s/%s %d", e.App, e.Name, e.Slot)
}

// oneLine is the text without what would break a line or confuse a terminal.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}
