// Package store is the cluster's memory as the daemons use it: etcd's v2 keys, with fail-over,
// deadlines, honest errors, mirrors of whole directories, and leases. It is the one package that
// imports go-etcd, which it uses request by request (docs/adr/0002-go-etcd-request-by-request.md).
//
// A key is a path of non-empty segments: "/apps/dummy/nginx/manifest". etcd leaves segments
// that begin with an underscore out of every listing, and so does this package.
package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dokkaa/dokkaa/internal/certificate"
)

// Options are what a Store is made of. Only Endpoints are required.
type Options struct {
	// Endpoints are the etcd members or gateways, as host:port or URL. Any of them is as good
	// as the others; the one that answered last is asked first.
	Endpoints []string
	Log       *slog.Logger
	// TLS is asked how to speak it for each connection to an https endpoint. It makes https of those
	// without a scheme.
	TLS func() *tls.Config
	// Dial connects to an endpoint that this machine does not reach by itself; nil for the usual way.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Username and Password are shown to etcd, where it knows users.
	Username, Password string

	// Timeout is how long a call may take with everything that it repeats, and how long a
	// write that must not be repeated waits for its answer. etcd itself gives up after 7 s,
	// when it lost its leader meanwhile: with less than that, the outcome of a write that etcd
	// was about to report is unknown. Default 9 s.
	Timeout time.Duration
	// TryTimeout is how long one endpoint may take before the next is asked the same, where
	// that does no harm. It doubles each time that all endpoints failed. Default 2 s.
	TryTimeout time.Duration
	// LeaseTimeout is the same for a lease's renewal, and stays as it is. Default 1 s.
	LeaseTimeout time.Duration

	// ClusterKey is the key that says which cluster this is (see Pin), "" for none.
	ClusterKey string
	Metrics    prometheus.Registerer
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		value *time.Duration
		want  time.Duration
	}{{&o.Timeout, 9 * time.Second}, {&o.TryTimeout, 2 * time.Second}, {&o.LeaseTimeout, time.Second}} {
		if *d.value == 0 {
			*d.value = d.want
		}
	}
	return o
}

// Store reads and writes keys. It is for concurrent use, and does I/O only inside of calls.
type Store struct {
	options   Options
	log       *slog.Logger
	endpoints []*endpoint
	preferred atomic.Int32 // index of the endpoint that is asked first
	transport http.RoundTripper
	metrics   metrics
	born      time.Time

	looked  atomic.Int64 // when, since the store was born, somebody last looked at the ClusterKey
	mu      sync.Mutex
	pinned  string // the cluster's id, "" while there is none to insist on
	foreign error  // what the last look found to be wrong
}

// endpoint is an etcd member or a gateway.
type endpoint struct {
	url    string       // without a path
	proven atomic.Int64 // when, since the store was born, it last gave an answer that took a quorum
}

// New returns a store on the endpoints. It does no I/O; an error is about the options.
func New(o Options) (*Store, error) {
	o = o.withDefaults()
	s := &Store{options: o, log: o.Log.With("component", "store"), transport: newTransport(o.TLS, o.Dial), born: time.Now()}
	if len(o.Endpoints) == 0 {
		return nil, errors.New("no etcd endpoint")
	}
	if o.Username != "" {
		s.transport = asUser{s.transport, o.Username, o.Password}
	}
	for _, address := range o.Endpoints {
		u, err := parseEndpoint(address, o.TLS != nil)
		if err != nil {
			return nil, err
		}
		s.endpoints = append(s.endpoints, &endpoint{url: u})
	}
	if o.ClusterKey != "" {
		if _, err := keyPath(o.ClusterKey); err != nil {
			return nil, err
		}
	}
	var err error
	if s.metrics, err = newMetrics(o.Metrics); err != nil {
		return nil, fmt.Errorf("register store metrics: %w", err)
	}
	return s, nil
}

// Close closes idle connections. The store can be used on.
func (s *Store) Close() {
	if t, ok := s.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// asUser sends each request as a user.
type asUser struct {
	http.RoundTripper
	name, password string
}

// RoundTrip implements http.RoundTripper.
func (u asUser) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context()) // which is not ours to change
	req.SetBasicAuth(u.name, u.password)
	return u.RoundTripper.RoundTrip(req)
}

// CloseIdleConnections is what Close looks for.
func (u asUser) CloseIdleConnections() {
	if t, ok := u.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

func parseEndpoint(address string, secure bool) (string, error) {
	raw := strings.TrimSpace(address)
	if !strings.Contains(raw, "://") {
		scheme := "http://"
		if secure {
			scheme = "https://"
		}
		raw = scheme + raw
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return "", fmt.Errorf("etcd endpoint: %w", err)
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.Port() == "",
		u.Path != "" && u.Path != "/", u.User != nil, u.RawQuery != "", u.Fragment != "":
		return "", fmt.Errorf("etcd endpoint %q: want host:port or http(s)://host:port", address)
	}
	return u.Scheme + "://" + u.Host, nil
}

// newTransport speaks HTTP/1.1, one request at a time and connection: an abandoned long poll
// costs its connection, and nobody else's.
func newTransport(secure func() *tls.Config, dial certificate.DialFunc) *http.Transport {
	dialer := net.Dialer{
		Timeout: 2 * time.Second,
		// A host that is gone ends its long polls after 5 s.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3},
	}
	if dial == nil {
		dial = dialer.DialContext
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	transport := &http.Transport{
		DialContext:         dial, // and no proxy from the environment
		Protocols:           protocols,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     time.Minute,
	}
	if secure != nil {
		transport.DialTLSContext = certificate.Dialer(dial, secure)
	}
	return transport
}
