package dokkaacfg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
)

type logsCommand struct {
	Of         string
	Follow     bool
	Since      string
	Tail       int
	Host       string
	Timestamps bool
}

func newLogsCommand(p *invocation) *cobra.Command {
	c := new(logsCommand)
	cmd := &cobra.Command{
		Use: "logs <app>[/<name>]", Short: "Show what instances write, of all hosts in one",
		Long: `Show what the instances of a container, or of an app, write: those that there are, on all hosts, in the order of time. With -f it
goes on, and takes in instances that start meanwhile. What an instance wrote goes with its container; the last lines of one
that ended badly are in dokkaacfg status.`,
		Example: "dokkaacfg logs dummy/nginx\ndokkaacfg logs -f dummy --since=10m\ndokkaacfg logs dummy/nginx --host=10.101.0.2 --tail=0 -f",
		Args:    exactly(&c.Of), ValidArgsFunction: p.completeContainers, RunE: p.run(c.Run),
	}
	cmd.Flags().BoolVarP(&c.Follow, "follow", "f", false, "go on, and show lines as they are written")
	cmd.Flags().StringVar(&c.Since, "since", "", "no lines before this `time`: 10m ago, or 2006-01-02T15:04:05Z")
	cmd.Flags().IntVar(&c.Tail, "tail", 100, "last `lines` of each instance; -1 for all")
	cmd.Flags().StringVar(&c.Host, "host", "", "only of instances on the host with this `address`")
	cmd.Flags().BoolVarP(&c.Timestamps, "timestamps", "t", false, "show when each line was written")
	return cmd
}

// Run shows the logs. An instance that cannot be asked does not hinder the others.
func (c *logsCommand) Run(ctx context.Context, s *session) error {
	wanted := logRequest{tail: c.Tail, follow: c.Follow}
	var err error
	if wanted.since, err = parseSince(c.Since, time.Now()); err != nil {
		return err
	}
	if app, name, named := strings.Cut(c.Of, "/"); app == "" || named && (name == "" || strings.Contains(name, "/")) {
		return usageError{fmt.Sprintf("%q is neither an application nor a container, <app>/<name>", c.Of)}
	}
	return s.withKeys(ctx, readTimeout, func(ctx context.Context, keys clusterKeys) error {
		rows, err := c.instances(ctx, keys)
		if err != nil {
			return err
		}
		if len(rows) == 0 && !c.Follow {
			return fmt.Errorf("there is no instance of %s; dokkaacfg status says why", c.Of)
		}
		show := &logPrinter{out: s.out, timestamps: c.Timestamps}
		if c.Follow {
			return c.follow(ctx, s, keys, wanted, show)
		}
		return c.past(ctx, s, rows, wanted, show)
	})
}

// instances are those whose logs are wanted.
func (c *logsCommand) instances(ctx context.Context, keys clusterKeys) ([]instanceReport, error) {
	all, err := readInventory(ctx, keys)
	if err != nil {
		return nil, err
	}
	if c.Host != "" {
		if _, _, err := (hostArg{c.Host}).in(all); err != nil {
			return nil, err
		}
	}
	if len(all.sortedRefs(c.Of)) == 0 {
		return nil, fmt.Errorf("there is nothing of %s; dokkaacfg status shows what there is", c.Of)
	}
	return slices.DeleteFunc(all.instanceReports(c.Of), func(r instanceReport) bool {
		return c.Host != "" && r.Host != c.Host || r.Phase == ""
	}), nil
}

// parseSince reads a time, or how long ago it was; "" is the zero time.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at, nil
	}
	return time.Time{}, usageError{fmt.Sprintf("--since=%s is neither a duration such as 10m nor a time such as 2006-01-02T15:04:05Z", text)}
}

// maxAsked is how many instances are asked about at a time.
const maxAsked = 16

// past shows what was written up to now, in the order of time.
func (c *logsCommand) past(ctx context.Context, s *session, rows []instanceReport, wanted logRequest, show *logPrinter) error {
	type written struct {
		of   instanceReport
		line state.LogLine
	}
	var mu sync.Mutex
	var all []written
	var failed []error
	var asking sync.WaitGroup
	free := make(chan struct{}, maxAsked)
	for _, row := range rows {
		free <- struct{}{}
		asking.Go(func() {
			defer func() { <-free }()
			err := s.readLog(ctx, row, wanted, func(line state.LogLine) error {
				mu.Lock()
				defer mu.Unlock()
				all = append(all, written{row, line})
				return nil
			})
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
			}
		})
	}
	asking.Wait()
	slices.SortStableFunc(all, func(a, b written) int { return a.line.Time.Compare(b.line.Time) })
	for _, w := range all {
		if err := show.line(w.of, w.line); err != nil {
			return err
		}
	}
	slices.SortFunc(failed, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return errors.Join(failed...)
}

// lookInterval is how often one who follows logs looks for other instances.
const lookInterval = 2 * time.Second

// follow shows what is written until ctx ends, also by instances that start meanwhile. A stream that
// breaks off is taken up again where it was.
func (c *logsCommand) follow(ctx context.Context, s *session, keys clusterKeys, wanted logRequest, show *logPrinter) error {
	ctx, cancel := context.WithCancel(ctx)
	streams := logStreams{session: s, show: show, open: map[string]time.Time{}, running: map[string]bool{}, told: map[string]string{}}
	defer streams.wg.Wait()
	defer cancel()
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for first := true; ; first = false {
		rows, err := c.instances(ctx, keys)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && first:
			return err
		case err == nil:
			streams.start(ctx, rows, wanted, first)
		}
		if err := show.failure(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// logStreams are the logs that are followed.
type logStreams struct {
	session *session
	show    *logPrinter
	wg      sync.WaitGroup

	mu      sync.Mutex
	open    map[string]time.Time // of each instance that was seen: the time of its last line
	running map[string]bool
	told    map[string]string // why the last try to read an instance's log failed
}

// start opens the logs of the instances that are not followed yet. One that comes later is shown
// from its beginning, one whose stream broke off from its last line on.
func (l *logStreams) start(ctx context.Context, rows []instanceReport, wanted logRequest, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, row := range rows {
		last, seen := l.open[row.Instance]
		if l.running[row.Instance] {
			continue
		}
		w := wanted
		switch {
		case seen && !last.IsZero():
			w.since, w.tail = last.Add(time.Nanosecond), -1
		case !seen && !first:
			w.tail = -1
		}
		l.open[row.Instance], l.running[row.Instance] = last, true
		l.wg.Go(func() {
			err := l.session.readLog(ctx, row, w, func(line state.LogLine) error {
				l.mu.Lock()
				l.open[row.Instance] = line.Time
				l.mu.Unlock()
				return l.show.line(row, line)
			})
			l.ended(ctx, row.Instance, err)
		})
	}
}

// ended notes the end of a stream, which is tried again, and tells once why it failed.
func (l *logStreams) ended(ctx context.Context, instance string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.running, instance)
	says := ""
	if err != nil && ctx.Err() == nil {
		says = err.Error()
	}
	if says != "" && says != l.told[instance] {
		_ = l.show.say(says) // it remembers what went wrong
	}
	l.told[instance] = says
}

// logPrinter writes lines for people, each whole. It is safe for concurrent use.
type logPrinter struct {
	out        io.Writer
	timestamps bool

	mu  sync.Mutex
	err error // of writing
}

func (p *logPrinter) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *logPrinter) line(of instanceReport, line state.LogLine) error {
	text := line.Text
	if p.timestamps {
		text = line.Time.Local().Format("2006-01-02 15:04:05.000 ") + text
	}
	return p.print(fmt.Sprintf("%s %d | %s", of.Ref, of.Slot, text))
}

// say writes a line that no instance wrote.
func (p *logPrinter) say(text string) error { return p.print("-- " + text) }

func (p *logPrinter) print(text string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.out, printable(p.out, text))
	}
	return p.err
}

// printable is a line for a terminal, which what a container writes is not to take over; others
// get it as it is.
func printable(to io.Writer, text string) string {
	if file, isFile := to.(*os.File); isFile && isTerminal(file) {
		return oneLine(text)
	}
	return text
}

// logRequest says which lines of a log are wanted.
type logRequest struct {
	since  time.Time
	tail   int // -1: all
	follow bool
}

func hostOf(row instanceReport) (netip.Addr, error) {
	addr, err := netip.ParseAddr(row.Host)
	if err != nil {
		return addr, fmt.Errorf("ask the host of %s %d: it is %q", row.Ref, row.Slot, row.Host)
	}
	return addr, nil
}
