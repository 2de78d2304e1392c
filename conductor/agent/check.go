package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/manifest"
)

// check is a check of an instance, with what it is made on.
type check struct {
	manifest.Check
	port int // of http and tcp
	// patience is how long what was never healthy is not restarted: without checks of its own the
	// manifest does not say how long the container takes to start.
	patience time.Duration
}

// Types of checks that no manifest asks for.
const (
	checkImage  manifest.CheckType = "image"  // by the image's HEALTHCHECK, which Docker makes
	checkSteady manifest.CheckType = "steady" // there is nothing to ask: it must run for a while
)

const (
	defaultStart = 100 * time.Millisecond // start interval where the manifest has no checks
	// probeSteady is how long an instance without ports must run to be healthy. There is nothing to
	// ask it, but one that ends at once must not replace one that works.
	probeSteady = 3 * time.Second

	answerLimit = 10 << 10 // bytes of an answer that are read
	headerLimit = 64 << 10
)

// checks are those by which the health of the instance's container is told: the manifest's, else
// the image's, else a connection to each port that takes some, else that it runs. Where the revision cannot be read
// nothing is known but the ports that it publishes.
func (d Desired) checks(c engine.Container) []check {
	m := d.Manifest
	if d.Invalid != "" || m == nil {
		m = &manifest.Manifest{}
	}
	var all []check
	for _, of := range m.Checks {
		all = append(all, check{Check: of, port: d.Services[of.Service].Port})
	}
	if len(all) > 0 {
		return all
	}
	implied := manifest.Check{Type: manifest.CheckTCP, Interval: manifest.DefaultCheckInterval, Timeout: manifest.DefaultCheckTimeout,
		SuccessThreshold: manifest.DefaultSuccessThreshold, FailureThreshold: manifest.DefaultFailureThreshold,
		StartPeriod: manifest.DefaultCheckStartPeriod, StartInterval: manifest.Duration(defaultStart), OnFailure: manifest.OnFailureRestart}
	if c.Health != engine.HealthNone {
		implied.Type = checkImage
		return []check{{Check: implied}}
	}
	ports := d.Ports
	if d.Invalid != "" {
		ports = slices.SortedFunc(maps.Keys(c.Ports), engine.Port.Compare)
	}
	for _, port := range tcp(ports) {
		all = append(all, check{Check: implied, port: port, patience: m.Update.HealthyDeadline.Of()})
	}
	if len(all) == 0 {
		implied.Type = checkSteady
		all = []check{{Check: implied}}
	}
	return all
}

// key tells checks from each other.
func (c check) key() string {
	text, err := json.Marshal(c.Check)
	if err != nil {
		panic(err) // strings and numbers can be marshalled
	}
	return fmt.Sprintf("%d %d %s", c.port, c.patience, text)
}

// checker makes checks of containers, one try at a time. It is safe for concurrent use.
type checker struct {
	dial  func(ctx context.Context, addr string) error
	get   func(ctx context.Context, addr string, c manifest.Check) (status int, err error)
	exec  func(ctx context.Context, container string, command []string, after string) (engine.Exec, error)
	execs places
}

// execPlaces is how many commands run at a time to check containers: each costs Docker the start of
// a process.
const execPlaces = 4

func newChecker(e Engine) checker {
	return checker{dial: dialTCP, get: newGetter(), exec: e.Exec, execs: newPlaces(execPlaces)}
}

// try makes a check once. It returns nil if it passed, and an error of errUntried if it could not
// be made. Running is the command that an earlier try left running, and then what this one did.
func (k checker) try(ctx context.Context, c check, t target, running *string) error {
	if c.Type == manifest.CheckExec {
		return k.tryExec(ctx, c, t.container, running)
	}
	if c.port == 0 {
		return fmt.Errorf("%w: there is no service %q", errUntried, c.Service)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout.Of())
	defer cancel()
	addr := net.JoinHostPort(t.addr.String(), strconv.Itoa(c.port))
	if c.Type == manifest.CheckHTTP {
		return k.tryHTTP(ctx, c, addr)
	}
	if err := k.dial(ctx, addr); err != nil {
		return &failure{kind: fmt.Sprintf("port %d does not accept connections: %s", c.port, plainly(ctx, err))}
	}
	return nil
}

func (k checker) tryHTTP(ctx context.Context, c check, addr string) error {
	what := fmt.Sprintf("GET %s on port %d", c.Path, c.port)
	status, err := k.get(ctx, addr, c.Check)
	switch {
	case err != nil:
		return &failure{kind: fmt.Sprintf("%s: %s", what, plainly(ctx, err))}
	case status < 200 || status > 399:
		return &failure{kind: fmt.Sprintf("%s: status %d", what, status)}
	}
	return nil
}

func (k checker) tryExec(ctx context.Context, c check, container string, running *string) error {
	if k.execs.wait(ctx) != nil {
		return errUntried
	}
	defer k.execs.leave()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout.Of())
	defer cancel()
	exec, err := k.exec(ctx, container, c.Command, *running)
	if err != nil {
		*running = orElse(exec.ID, *running)
		return fmt.Errorf("the health of the container is %w: %w", errUntried, err)
	}
	what := "command " + c.Command[0]
	*running = ""
	switch {
	case exec.Running:
		*running = exec.ID
		return &failure{kind: fmt.Sprintf("%s has not ended within %s", what, short(c.Timeout.Of()))}
	case exec.Code != 0:
		return &failure{kind: fmt.Sprintf("%s exited with code %d", what, exec.Code), detail: exec.Output}
	}
	return nil
}

// dialTCP proves that something accepts connections at addr.
func dialTCP(ctx context.Context, addr string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// newGetter makes a function that asks for a page, on a connection of its own, and returns the
// status: that of a redirect where there is one.
func newGetter() func(ctx context.Context, addr string, c manifest.Check) (int, error) {
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: headerLimit},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, addr string, c manifest.Check) (int, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+c.Path, http.NoBody)
		if err != nil {
			return 0, err
		}
		request.Header.Set("User-Agent", "dokkaa-conductor")
		for name, value := range c.Headers {
			if strings.EqualFold(name, "Host") {
				request.Host = value
				continue
			}
			request.Header.Set(name, value)
		}
		response, err := client.Do(request)
		if err != nil {
			return 0, err
		}
		defer response.Body.Close()
		// Read so that the server can end in peace; the status has decided already.
		_, _ = io.CopyN(io.Discard, response.Body, answerLimit)
		return response.StatusCode, nil
	}
}

// plainly is an error of the network without what is different each time, and in few words.
func plainly(ctx context.Context, err error) string {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return "no answer in time"
	}
	var (
		request *url.Error
		network *net.OpError
	)
	if errors.As(err, &network) { // which names our port too
		return network.Err.Error()
	}
	if errors.As(err, &request) {
		return request.Err.Error()
	}
	return err.Error()
}

// short is a duration as people write it: "30m", not "30m0s".
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// target is what is probed: the container's own address, never the published one, where
// Docker's proxy accepts for a dead backend too.
type target struct {
	container string // id, so that another container at the same address starts anew
	restarts  int    // likewise for the same container started again
	addr      netip.Addr
}
