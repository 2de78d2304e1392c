package skydns

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestMetricsWhereSkyDNSHasThem(t *testing.T) {
	registry := prometheus.NewRegistry()
	served := prometheus.NewCounter(prometheus.CounterOpts{Name: "served_total"})
	registry.MustRegister(served)
	addr := closedPort(t).String()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serveMetrics(ctx, addr, "/numbers", registry) }()
	eventually(t, func() error {
		resp, err := http.Get("http://" + addr + "/numbers")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), "served_total 0") {
			return fmt.Errorf("got %s, %v", body, err)
		}
		return nil
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := serveMetrics(t.Context(), "192.0.2.1:1", "/", registry); err == nil {
		t.Error("an address that is not ours is served")
	}
}
