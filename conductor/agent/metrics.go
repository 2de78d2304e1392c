package agent

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	actions   *prometheus.CounterVec
	instances *prometheus.GaugeVec
}

func newMetrics(registry prometheus.Registerer) metrics {
	factory := promauto.With(registry)
	return metrics{
		actions: factory.NewCounterVec(prometheus.CounterOpts{Name: "dokkaa_agent_actions_total",
			Help: "Actions on containers that ended, by kind and by how they ended."}, []string{"kind", "result"}),
		instances: factory.NewGaugeVec(prometheus.GaugeOpts{Name: "dokkaa_agent_instances",
			Help: "Instances of this host, by phase."}, []string{"phase"}),
	}
}
