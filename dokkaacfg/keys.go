package dokkaacfg

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/dokkaa/dokkaa/internal/store"
)

// openKeys returns the cluster's keys, read through the gateway of whichever host answers.
func openKeys(hosts []netip.Addr, log *slog.Logger) (*store.Store, error) {
	var endpoints []string
	for _, host := range hosts {
		endpoints = append(endpoints, gatewayURL(host))
	}
	keys, err := store.New(store.Options{
		Endpoints: endpoints, Log: log,
		// A person waits: a host that is down costs this much, once.
		TryTimeout: time.Second, Timeout: 4 * time.Second,
	})
	if err != nil {
		return nil, fmt.Errorf("open the cluster's keys: %w", err)
	}
	return keys, nil
}

// gatewayURL is a host's door to the keys.
func gatewayURL(host netip.Addr) string {
	return "http://" + netip.AddrPortFrom(host, gatewayPort).String()
}
