package conductor

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dokkaa/dokkaa/internal/daemon"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// host is a host of a fleet.
type host struct {
	fleet     *fleet
	ip        string
	docker    *memoryDocker
	gates     []*gate
	conductor *Conductor // the last one
	end       func()     // ends it and waits
	metrics   *prometheus.Registry
}

// start starts the host's conductor, which ends with the test at the latest.
func (h *host) start() {
	t := h.fleet.whole // the conductor logs as long as it lives
	t.Helper()
	h.cut(false)
	var endpoints []string
	for _, g := range h.gates {
		endpoints = append(endpoints, g.addr())
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil)).With("on", h.ip)
	s, err := store.New(store.Options{Endpoints: endpoints, ClusterKey: state.ClusterKey, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	h.metrics = prometheus.NewRegistry()
	h.conductor = newConductor(Settings{HostIP: h.ip}, s, &membership{store: s, log: log}, h.docker.machine(), daemon.Env{Log: log, Metrics: h.metrics})
	ctx, cancel := context.WithCancel(context.Background()) // cleaning up outlives the test's own
	done := make(chan error, 1)
	go func() { done <- h.conductor.Run(ctx) }()
	h.end = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("conductor of %s ended with %v", h.ip, err)
		}
		s.Close()
		h.end = func() {}
	}
	t.Cleanup(func() { h.end() })
}

// kill ends the conductor before it can tell anybody.
func (h *host) kill() {
	h.cut(true)
	h.end()
}

// cut cuts the host off from etcd, or ends that.
func (h *host) cut(cut bool) {
	for _, g := range h.gates {
		g.shut(cut)
	}
}

// present returns nil when the host takes instances.
func (h *host) present() error {
	node, err := h.fleet.store.Get(h.fleet.t.Context(), state.HostLeaseKey(h.ip))
	if err != nil {
		return err
	}
	var lease state.Host
	if err := json.Unmarshal([]byte(node.Value), &lease); err != nil {
		return err
	}
	if lease.Condition != "" {
		return errors.New(lease.Condition)
	}
	return h.conductor.Ready()
}

// plans is how often the host's present conductor planned.
func (h *host) plans() uint64 {
	t := h.fleet.t
	t.Helper()
	families, err := h.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "dokkaa_scheduler_planning_seconds" {
			return family.GetMetric()[0].GetHistogram().GetSampleCount()
		}
	}
	t.Fatal("no metric of planning")
	return 0
}
