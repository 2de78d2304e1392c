package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// operations is the HTTP server of /healthz, /readyz and /metrics.
type operations struct {
	listener net.Listener
	server   *http.Server
}

func listenOperations(addr string, handler http.Handler) (*operations, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for operations: %w", err)
	}
	return &operations{listener: listener, server: &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}}, nil
}

// Addr is the address that the server listens on.
func (o *operations) Addr() string { return o.listener.Addr().String() }

func (o *operations) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = o.server.Close() }) // nothing in it is worth a drain
	defer stop()
	if err := o.server.Serve(o.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// operationsHandler serves /healthz (200 while the process runs), /readyz (503 with the reason
// while the daemon is not ready, or is ending because ctx has), Prometheus /metrics, and the daemon's
// own Routes.
func operationsHandler(ctx context.Context, d Daemon, registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		err := d.Ready()
		if ctx.Err() != nil {
			err = errors.New("ending")
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	if more, ok := d.(Routes); ok {
		more.Routes(mux)
	}
	return mux
}

// checkHealth asks the daemon at addr for /healthz.
func checkHealth(addr string) error {
	client := http.Client{Timeout: 3 * time.Second}
	resp, err := client.Get("http://" + addr + "/healthz")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // only to explain the status
		return fmt.Errorf("%s: %s", resp.Status, body)
	}
	return nil
}
