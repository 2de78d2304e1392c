// Package gateway is the door to the cluster's keys: an HTTP reverse proxy to the members of
// etcd that finds one that answers, keeps long polls, and turns away what browsers send on
// behalf of foreign pages.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/dokkaa/dokkaa/internal/daemon"
	"github.com/dokkaa/dokkaa/internal/handover"
)

// Gateway is the daemon.
type Gateway struct {
	log       *slog.Logger
	metrics   *metrics
	access    access
	roles     roles
	cluster   *cluster
	proxy     *httputil.ReverseProxy
	own       *http.ServeMux // what is not etcd's
	host      *hostDoor
	entrances []*entrance
	sockets   *handover.Sockets
	post      *handover.Post
	idle      []interface{ CloseIdleConnections() }
}

// New makes the gateway. It reads the certificates, and does no other I/O.
func New(settings Settings, env daemon.Env) (*Gateway, error) {
	members, err := settings.members()
	if err != nil {
		return nil, err
	}
	own, etcd, err := settings.certificates(env.Log)
	if err != nil {
		return nil, err
	}
	requests, probes := newTransport(etcd), newTransport(etcd)
	g := &Gateway{
		log:     env.Log,
		metrics: newMetrics(env.Metrics),
		access:  newAccess(settings.GatewayHosts),
		roles:   roles{settings.HostIP},
		cluster: newCluster(members, probes, env.Log),
		idle:    []interface{ CloseIdleConnections() }{requests, probes},
	}
	g.proxy = &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      &failover{cluster: g.cluster, transport: requests, metrics: g.metrics},
		FlushInterval:  -1, // at once: the header of a long poll, and its event
		ErrorLog:       slog.NewLogLogger(env.Log.Handler(), slog.LevelDebug),
		ModifyResponse: g.answered,
		ErrorHandler:   g.fail,
	}
	g.own = http.NewServeMux()
	g.own.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	g.own.HandleFunc("GET /readyz", g.readyz)
	g.own.Handle("GET /metrics", promhttp.HandlerFor(env.Metrics, promhttp.HandlerOpts{}))
	g.host = newHostDoor(settings.HostIP, settings.ConductorAddr, own, env.Log)
	g.idle = append(g.idle, g.host)
	g.own.Handle(hostPath+"{rest...}", g.host)
	g.sockets = handover.NewSockets(g.wants)
	for _, addr := range settings.addrs() {
		g.entrances = append(g.entrances, newEntrance(addr, g.sockets, own, env.Log))
	}
	g.post = handover.New(handover.Settings{Name: settings.post(), Server: g.sockets, Ready: g.couldServe, Log: env.Log})
	return g, nil
}

// wants tells whether an entrance listens with a socket that another gateway had.
func (g *Gateway) wants(name handover.Name) bool {
	return name.Kind == handover.TCP && slices.ContainsFunc(g.entrances, func(e *entrance) bool {
		addr, err := resolve(e.addr)
		return err == nil && handover.SamePlace(addr, name.Addr)
	})
}

// couldServe says why another gateway had better go on: we have not asked the members yet. That none
// of them is healthy is no reason, it will be the same there.
func (g *Gateway) couldServe() error {
	if g.cluster.asked() {
		return nil
	}
	return errors.New("members of etcd are not asked yet")
}

// Turn waits until this gateway serves, and returns a context that ends when another does.
func (g *Gateway) Turn(ctx context.Context) (context.Context, error) { return g.post.Turn(ctx) }

// Ready says why requests cannot be served now, nil if they can.
func (g *Gateway) Ready() error {
	errs := []error{g.cluster.ready()}
	for _, e := range g.entrances {
		errs = append(errs, e.ready())
	}
	return errors.Join(errs...)
}

// Addrs returns the addresses that are listened on now.
func (g *Gateway) Addrs() []net.Addr {
	var addrs []net.Addr
	for _, e := range g.entrances {
		if addr := e.boundTo(); addr != nil {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// Run serves until ctx ends, then lets requests under way finish for a moment.
func (g *Gateway) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	// Another gateway that is about to take over does so first.
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error {
		defer end()
		g.post.Run(ctx)
		return nil
	})
	for _, e := range g.entrances {
		group.Go(func() error { return e.run(serving, g) })
	}
	group.Go(func() error {
		g.cluster.run(serving)
		return nil
	})
	// A long poll has no end of its own that a shutdown could wait for.
	group.Go(func() error {
		<-serving.Done()
		g.host.end()
		for _, m := range g.cluster.members {
			m.cut(true, errEnding)
		}
		return nil
	})
	err := group.Wait()
	g.sockets.Close()
	for _, transport := range g.idle {
		transport.CloseIdleConnections()
	}
	return err
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := g.access.check(r); err != nil {
		g.refuse(w, r, err)
		return
	}
	_, ours := g.own.Handler(r)
	if ours == "" {
		if err := checkPath(r); err != nil {
			g.refuse(w, r, err)
			return
		}
	}
	if err := g.roles.check(r); err != nil {
		g.refuse(w, r, err)
		return
	}
	if ours != "" {
		g.own.ServeHTTP(w, r)
		return
	}
	m, err := readMessage(w, r)
	if err != nil {
		g.refuse(w, r, err)
		return
	}
	g.metrics.open.Inc()
	defer g.metrics.open.Dec()
	g.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), messageKey{}, m)))
}

// rewrite makes the request to etcd of ours. Which member it goes to is decided later.
func rewrite(r *httputil.ProxyRequest) {
	r.Out.URL.Scheme, r.Out.URL.Host = "http", "etcd"
	r.Out.Header.Del("Origin")
	r.Out.Header.Del("Expect") // the body is here already
}

// answered looks at an answer of etcd before it goes to the client.
func (g *Gateway) answered(resp *http.Response) error {
	// etcd allows every page everything.
	for name := range resp.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			resp.Header.Del(name)
		}
	}
	req := resp.Request
	g.metrics.requests.WithLabelValues(req.Method, fmt.Sprint(resp.StatusCode)).Inc()
	if req.Method != http.MethodGet && req.Method != http.MethodHead && isManifest(req.URL.Path) {
		g.log.Info("manifest changes", "method", req.Method, "key", strings.TrimPrefix(req.URL.Path, keysPath),
			"status", resp.StatusCode, "index", resp.Header.Get("X-Etcd-Index"))
	}
	return nil
}

func isManifest(path string) bool {
	return strings.HasPrefix(path, keysPath+"/apps/") && strings.HasSuffix(path, "/manifest")
}

func (g *Gateway) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := g.Ready(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}
