package skydns

import (
	"github.com/dokkaa/dokkaa/internal/daemon"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// NewDaemon returns the server that the settings describe, with its records from etcd.
func NewDaemon(settings *Settings, env daemon.Env) (daemon.Daemon, error) {
	config, err := settings.config()
	if err != nil {
		return nil, err
	}
	st, err := store.New(store.Options{
		Endpoints:  settings.Machines,
		Log:        env.Log,
		ClusterKey: state.ClusterKey,
		Metrics:    env.Metrics,
	})
	if err != nil {
		return nil, err
	}
	return New(config, st.NewMirror("/"+config.PathPrefix), env.Log.With("component", "skydns"), env.Metrics)
}
