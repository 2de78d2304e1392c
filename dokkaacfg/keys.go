package dokkaacfg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/manifest"
)

const (
	// readTimeout is how long a person waits to hear that nothing answers.
	readTimeout = 4 * time.Second
	// writeTimeout is more than etcd takes to give up: with less, the outcome of a write would
	// be unknown each time that etcd has just lost its leader.
	writeTimeout = 9 * time.Second
	// outagePatience is how long one who waits for something goes on while nothing answers.
	outagePatience = 30 * time.Second
	followInterval = 500 * time.Millisecond
)

// openKeys returns the cluster's keys, read through the gateway of whichever host answers.
func openKeys(hosts []Host, d doors, log *slog.Logger) (*store.Store, error) {
	var endpoints []string
	for _, host := range hosts {
		endpoints = append(endpoints, d.gateway(host.IP()))
	}
	return openEndpoints(endpoints, d, dialTo(hosts), log, readTimeout)
}

func openEndpoints(endpoints []string, d doors, dial dialFunc, log *slog.Logger, timeout time.Duration) (*store.Store, error) {
	keys, err := store.New(store.Options{
		Endpoints: endpoints, TLS: d.toKeys(), Dial: dial, Log: log,
		// A person waits: a host that is down costs this much, once.
		TryTimeout: time.Second, Timeout: timeout,
	})
	if err != nil {
		return nil, fmt.Errorf("open the cluster's keys: %w", err)
	}
	return keys, nil
}

// clusterKeys are the keys of the session's cluster.
type clusterKeys struct {
	*store.Store
	hosts []netip.Addr // that the provider knows
}

// withKeys calls f with the cluster's keys. An error that says that nothing answered gets the
// hosts that were asked, and what to do.
func (s *session) withKeys(ctx context.Context, timeout time.Duration, f func(context.Context, clusterKeys) error) error {
	hosts, err := s.provider.hosts(ctx)
	if err != nil {
		return err
	}
	if len(hosts) == 0 {
		return fmt.Errorf("there is no cluster %s; dokkaacfg up makes it", s.cluster)
	}
	var endpoints []string
	for _, host := range hosts {
		endpoints = append(endpoints, s.doors.gateway(host.IP()))
	}
	if err := reachAny(ctx, hosts); err != nil {
		return fmt.Errorf("ask cluster %s: %w", s.cluster, err)
	}
	keys, err := openEndpoints(endpoints, s.doors, dialTo(hosts), s.log, timeout)
	if err != nil {
		return err
	}
	defer keys.Close()
	err = f(ctx, clusterKeys{Store: keys, hosts: addresses(hosts)})
	if errors.Is(err, store.ErrUnavailable) && ctx.Err() == nil {
		return fmt.Errorf("ask cluster %s, whose hosts are %s: %w\nNo gateway answers as it should: dokkaacfg doctor says why on each host; dokkaacfg up starts what is missing",
			s.cluster, listAddresses(hosts), err)
	}
	return err
}

// follow calls look again and again until it says that it is done or fails. It goes on over an
// outage of a moment, and tells of it.
func follow(ctx context.Context, p *progress, look func(context.Context) (done bool, err error)) error {
	ticker := time.NewTicker(followInterval)
	defer ticker.Stop()
	var outage time.Time
	for {
		done, err := look(ctx)
		switch {
		case err != nil && (!errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil):
			return err
		case err == nil && done:
			return nil
		case err == nil:
			outage = time.Time{}
		case outage.IsZero():
			outage = time.Now()
			p.say("the cluster's keys cannot be read for a moment: %v", err)
		case time.Since(outage) > outagePatience:
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

const maxAttempts = 10

// modify makes a key's value of the one that it has, "" for none, and does so again when somebody
// else was faster. The key goes when change makes "" of it; with the same value nothing is written.
func modify(ctx context.Context, keys *store.Store, key string, change func(old string) (string, error)) error {
	var last error
	for range maxAttempts {
		node, err := keys.Get(ctx, key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		value, err := change(node.Value)
		switch {
		case err != nil:
			return err
		case value == node.Value:
			return nil
		case node.Modified == 0:
			_, last = keys.Create(ctx, key, value, 0)
		case value == "":
			last = keys.CompareAndDelete(ctx, key, node.Modified)
		default:
			_, last = keys.CompareAndSwap(ctx, key, value, node.Modified)
		}
		if !isRace(last) {
			return last
		}
	}
	return last
}

// isRace tells that a write was not done because somebody else was faster.
func isRace(err error) bool {
	return errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrNotFound)
}

// removeKey removes a key, and is content with one that is gone.
func removeKey(ctx context.Context, keys *store.Store, key string) error {
	if err := keys.Delete(ctx, key); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}

// parseRef reads <app>/<name>.
func parseRef(text string) (state.Ref, error) {
	app, name, found := strings.Cut(text, "/")
	if !found {
		return state.Ref{}, usageError{fmt.Sprintf("%q does not have the form <app>/<name>", text)}
	}
	if err := manifest.ValidateNames(app, name); err != nil {
		return state.Ref{}, usageError{fmt.Sprintf("%q: %v", text, err)}
	}
	return state.Ref{App: app, Name: name}, nil
}

// asJSON is a value as it stands in etcd.
func asJSON(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err) // the values hold nothing that cannot be marshalled
	}
	return string(data)
}
