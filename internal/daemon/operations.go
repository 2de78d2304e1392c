package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// addressPause is how often to try an address that whoever had the last turn has not left yet.
const addressPause = 50 * time.Millisecond

// operations listens at the address, and returns what serves there until its context ends. A
// daemon that takes turns with others has the address only during its own.
func operations(addr string, handler http.Handler, d Daemon) (run func(context.Context) error, err error) {
	turns, ok := d.(Turns)
	if !ok {
		listener, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("listen for operations: %w", err)
		}
		return func(ctx context.Context) error { return serveOperations(ctx, listener, handler) }, nil
	}
	return func(ctx context.Context) error {
		for {
			turn, err := turns.Turn(ctx)
			if err != nil {
				return nil // ctx ended
			}
			if err := takeTurn(ctx, turn, addr, handler); err != nil {
				return err
			}
		}
	}, nil
}

// takeTurn serves until the turn, or ctx, ends.
func takeTurn(ctx, turn context.Context, addr string, handler http.Handler) error {
	turn, end := context.WithCancel(turn)
	defer end()
	stop := context.AfterFunc(ctx, end)
	defer stop()
	for turn.Err() == nil {
		listener, err := net.Listen("tcp", addr)
		if err == nil {
			return serveOperations(turn, listener, handler)
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("listen for operations: %w", err)
		}
		select {
		case <-turn.Done():
		case <-time.After(addressPause):
		}
	}
	return nil
}

func serveOperations(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // nothing in it is worth a drain
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// operationsHandler serves /healthz (200 while the process runs), /readyz (503 with the reason
// while the daemon is not ready, or is ending because ctx has), Prometheus /metrics, and the daemon's
// own Routes; and nothing to pages in a browser.
func operationsHandler(ctx context.Context, d Daemon, registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	namespace := processNamespace()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(namespaceHeader, namespace)
		fmt.Fprintln(w, "ok")
	})
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
	return withoutPages(mux)
}

// checkHealth asks the daemon at addr for /healthz. In a container whose daemon may share the address
// with that of another, its own has to answer.
func checkHealth(addr, own string) error {
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
	if answered := resp.Header.Get(namespaceHeader); own != "" && answered != "" && answered != own {
		return fmt.Errorf("%s is another container's, which serves in place of this one", addr)
	}
	return nil
}

// namespaceHeader tells containers apart that have the host's network in common.
const namespaceHeader = "Dokkaa-Process-Namespace"

// processNamespace is "" where the system has none.
func processNamespace() string {
	name, _ := os.Readlink("/proc/self/ns/pid")
	return name
}

// ownContainer is the process namespace if its first process is our daemon.
func ownContainer() string {
	first, err := os.Readlink("/proc/1/exe")
	own, _ := os.Executable()
	if err != nil || first != own || os.Getpid() == 1 {
		return ""
	}
	return processNamespace()
}
