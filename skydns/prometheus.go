package skydns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metricsAgain is how often to try an address that another process has not left yet.
const metricsAgain = 100 * time.Millisecond

// serveMetrics serves the metrics where SkyDNS has them, in the turns of this process, until ctx ends.
func (c *configured) serveMetrics(ctx context.Context) error {
	addr := net.JoinHostPort("", c.settings.PrometheusPort)
	for {
		turn, end, err := c.sockets.Turn(ctx)
		if err != nil {
			return nil // ctx ended
		}
		err = serveMetrics(turn, addr, c.settings.PrometheusPath, c.metrics)
		end()
		if err != nil && (!errors.Is(err, syscall.EADDRINUSE) || c.post.Name == "") {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(metricsAgain):
		}
	}
}

// serveMetrics serves the metrics where SkyDNS has them, until ctx ends.
func serveMetrics(ctx context.Context, addr, path string, metrics prometheus.Gatherer) error {
	mux := http.NewServeMux()
	mux.Handle("GET "+path, promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for Prometheus: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // nothing in it is worth a drain
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}
