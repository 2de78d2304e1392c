// Package docker is the connection to a Docker Engine that the daemons share: an API client
// with a version that both sides speak, and the Engine's events.
//
// It hands out go-dockerclient's client for requests but never its event monitor, which
// deadlocks under a burst of events.
package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"
)

// DefaultHost is where an Engine listens that was told nothing else.
const DefaultHost = "unix:///var/run/docker.sock"

const dialTimeout = 5 * time.Second

// newestAPI is the newest API version that was tried with this code.
const newestAPI = "1.51"

// Engine is a connection to the Docker Engine of a host. It is safe for concurrent use and
// needs no Close: no connection is kept between two requests.
type Engine struct {
	host string
	dial func(ctx context.Context) (net.Conn, error)
	log  *slog.Logger
	http *http.Client // for our own requests; the host part of their URLs is ignored

	connectTimeout time.Duration

	turn chan struct{} // held by the one call that negotiates

	mu     sync.Mutex
	client *dockerclient.Client // nil before the first negotiation and after a failed one
	api    string               // version that client speaks
}

// New makes the connection to the Engine at host, which is "unix:///path" or
// "tcp://address:port"; "" is DefaultHost. It does no I/O.
func New(host string, log *slog.Logger) (*Engine, error) {
	if host == "" {
		host = DefaultHost
	}
	network, addr, err := parseHost(host)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	return newEngine(host, func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, network, addr) }, log), nil
}

// NewThrough makes the connection to an Engine of another machine: dial connects from there, to the
// Unix socket that is DefaultHost. What host says is for people.
func NewThrough(host string, dial func(ctx context.Context, network, addr string) (net.Conn, error), log *slog.Logger) *Engine {
	return newEngine(host, func(ctx context.Context) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		return dial(ctx, "unix", strings.TrimPrefix(DefaultHost, "unix://"))
	}, log)
}

func newEngine(host string, dial func(context.Context) (net.Conn, error), log *slog.Logger) *Engine {
	transport := &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableKeepAlives: true,
	}
	return &Engine{
		host:           host,
		dial:           dial,
		log:            log,
		http:           &http.Client{Transport: transport},
		connectTimeout: 10 * time.Second,
		turn:           make(chan struct{}, 1),
	}
}

// dialer is what go-dockerclient connects with.
type dialer func(context.Context) (net.Conn, error)

// Dial connects to the Engine, whatever the arguments.
func (d dialer) Dial(_, _ string) (net.Conn, error) { return d(context.Background()) }

func parseHost(host string) (network, addr string, err error) {
	u, err := url.Parse(host)
	if err != nil {
		return "", "", fmt.Errorf("parse Docker host: %w", err)
	}
	switch {
	case u.Scheme == "unix" && u.Host == "" && u.Path != "":
		return "unix", u.Path, nil
	case u.Scheme == "tcp" && u.Port() != "" && (u.Path == "" || u.Path == "/"):
		return "tcp", u.Host, nil
	}
	return "", "", fmt.Errorf("parse Docker host %q: want unix:///path or tcp://address:port", host)
}

// Host is the address of the Engine.
func (e *Engine) Host() string { return e.host }

// Client returns a client that speaks an API version which the Engine has. The first call asks
// the Engine for its version and blocks until it answers, ctx ends, or ten seconds have
// passed; later calls return the same client at once. After an error the next call asks again.
//
// The client has no deadlines of its own: every request needs a context with one.
func (e *Engine) Client(ctx context.Context) (*dockerclient.Client, error) {
	if client := e.current(); client != nil {
		return client, nil
	}
	return e.negotiate(ctx, false)
}

func (e *Engine) current() *dockerclient.Client {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.client
}

// negotiate asks the Engine for its version and makes the client for it. Unless again is set,
// a client that another call made in the meantime will do.
func (e *Engine) negotiate(ctx context.Context, again bool) (*dockerclient.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, e.connectTimeout)
	defer cancel()
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("connect to Docker at %s: %w", e.host, ctx.Err())
	}
	if client := e.current(); client != nil && !again {
		return client, nil
	}
	client, api, err := e.connect(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		e.client, e.api = nil, ""
		return nil, fmt.Errorf("connect to Docker at %s: %w", e.host, err)
	}
	if api != e.api {
		e.client, e.api = client, api
		e.log.Info("connected to Docker", "host", e.host, "api", api)
	}
	return e.client, nil
}

func (e *Engine) connect(ctx context.Context) (*dockerclient.Client, string, error) {
	server, err := e.version(ctx)
	if err != nil {
		return nil, "", err
	}
	api, err := chooseAPI(server)
	if err != nil {
		return nil, "", err
	}
	client, err := dockerclient.NewVersionedClient(DefaultHost, api) // but see Dialer
	if err != nil {
		return nil, "", err
	}
	// Its own check would ask for the version once more, and without a deadline.
	client.SkipServerVersionCheck = true
	client.Dialer = dialer(e.dial)
	return client, api, nil
}

// serverVersion is the part of the answer to /version that matters here.
type serverVersion struct {
	Version    string `json:"Version"`
	API        string `json:"ApiVersion"`
	MinimumAPI string `json:"MinAPIVersion"`
}

func (e *Engine) version(ctx context.Context) (v serverVersion, err error) {
	resp, err := e.get(ctx, "/version")
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&v); err != nil {
		return v, fmt.Errorf("read version: %w", err)
	}
	return v, nil
}

// Get asks the Engine for path, "/volumes" or the like, and decodes its answer. It is for what the
// client does not ask with a context, or does not tell of the answer.
func (e *Engine) Get(ctx context.Context, path string, query url.Values, into any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	resp, err := e.Do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read the Engine's answer: %w", err)
	}
	return nil
}

// Do sends a request that the client does not send with a context. The path is that of Get, and body
// is sent as JSON unless it is nil. The caller closes the body of the answer, whose status is one of
// success; a refusal is an error.
func (e *Engine) Do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	api, err := e.speaks(ctx)
	if err != nil {
		return nil, err
	}
	return e.send(ctx, method, "/v"+api+path, body)
}

// speaks is the version of the API that requests are to be of.
func (e *Engine) speaks(ctx context.Context) (api string, err error) {
	if _, err := e.Client(ctx); err != nil {
		return "", err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.api == "" { // somebody else's try to connect again has just failed
		return "", fmt.Errorf("connect to Docker at %s: %w", e.host, dockerclient.ErrConnectionRefused)
	}
	return e.api, nil
}

// Hijacked is a connection to the Engine that a request was given for itself. It has no deadlines, and
// ends with Close only.
type Hijacked interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Hijack sends a request that Do would send, and takes the connection over. Ctx bounds the request only.
// The caller closes the connection.
func (e *Engine) Hijack(ctx context.Context, path string, body any) (Hijacked, error) {
	api, err := e.speaks(ctx)
	if err != nil {
		return nil, err
	}
	req, err := newRequest(ctx, http.MethodPost, "/v"+api+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "tcp")
	resp, err := e.roundTrip(req, http.StatusSwitchingProtocols)
	if err != nil {
		return nil, err
	}
	conn, ok := resp.Body.(Hijacked)
	if !ok {
		resp.Body.Close()
		return nil, fmt.Errorf("the Engine does not hand the connection over: %s", resp.Status)
	}
	return conn, nil
}

// Filters are the query of a request whose answer is to be filtered: by label and the like.
func Filters(filters map[string][]string) url.Values {
	text, err := json.Marshal(filters)
	if err != nil {
		panic(err) // a map of strings always is JSON
	}
	return url.Values{"filters": {string(text)}}
}

// get sends a request of our own. The caller closes the body of the answer.
func (e *Engine) get(ctx context.Context, path string) (*http.Response, error) {
	return e.send(ctx, http.MethodGet, path, nil)
}

func (e *Engine) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	req, err := newRequest(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	return e.roundTrip(req)
}

func newRequest(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var content io.Reader = http.NoBody
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, content)
	if err == nil && body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, err
}

// roundTrip sends a request. A status that is neither one of success nor among the others is an error.
func (e *Engine) roundTrip(req *http.Request, others ...int) (*http.Response, error) {
	resp, err := e.http.Do(req)
	if err != nil {
		return nil, err
	}
	if (resp.StatusCode < 200 || resp.StatusCode > 299) && !slices.Contains(others, resp.StatusCode) {
		defer resp.Body.Close()
		message, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // only to explain the status
		return nil, &dockerclient.Error{Status: resp.StatusCode, Message: string(message)}
	}
	return resp, nil
}

// chooseAPI is the newest API version that both the server and this code know.
func chooseAPI(server serverVersion) (string, error) {
	ours, err := dockerclient.NewAPIVersion(newestAPI)
	if err != nil {
		return "", err
	}
	theirs, err := dockerclient.NewAPIVersion(server.API)
	if err != nil {
		return "", fmt.Errorf("read API version of Docker %s: %w", server.Version, err)
	}
	if theirs.LessThan(ours) {
		return theirs.String(), nil
	}
	if server.MinimumAPI == "" {
		return newestAPI, nil
	}
	minimum, err := dockerclient.NewAPIVersion(server.MinimumAPI)
	if err != nil {
		return "", fmt.Errorf("read minimum API version of Docker %s: %w", server.Version, err)
	}
	if minimum.GreaterThan(ours) {
		return "", fmt.Errorf("version %s speaks API %s and newer, this program only %s: it needs an upgrade",
			server.Version, server.MinimumAPI, newestAPI)
	}
	return newestAPI, nil
}
