package dokkaacfg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/dokkaacfg/backup"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// run makes etcd anew. The conductors are away meanwhile: they come back to keys that are whole.
func (r *restoring) run(ctx context.Context) error {
	if err := r.restoreSecretKey(); err != nil {
		return err
	}
	if err := r.install.key.read(); err != nil {
		return err
	}
	members, err := r.install.renewEtcd(ctx)
	if err != nil {
		return err
	}
	keys, err := r.install.openMembers(members)
	if err != nil {
		return err
	}
	defer keys.Close()
	step := r.progress.step("", "keys")
	err = r.write(ctx, keys)
	if err == nil {
		step.done("keys: written")
	}
	step.end(err)
	if err != nil {
		return err
	}
	if r.serving {
		// All at once from the moment that the id is there, or those that come late count as lost.
		if err := r.install.startConductors(ctx, members); err != nil {
			return err
		}
	}
	if _, err := keys.Create(ctx, state.ClusterKey, r.backup.ID, 0); err != nil {
		return fmt.Errorf("write the cluster's id: %w", err)
	}
	if err := removeKey(ctx, keys, state.RestoringKey); err != nil {
		return err
	}
	if err := r.install.install(ctx); err != nil {
		return err
	}
	r.progress.say("cluster %s is restored as of %s, after %s", r.cluster, r.backup.Time.Format(time.RFC3339), r.progress.total())
	return nil
}

// restoreSecretKey puts the backup's key where it belongs, unless it is there. Another that is there is
// kept beside it.
func (r *restoring) restoreSecretKey() error {
	file := r.secretKeyFile()
	key := keyFile{path: file}
	err := key.read()
	switch {
	case r.backup.SecretKey == "":
		_, err := ensureSecretKey(file)
		return err
	case err == nil && key.digest == r.backup.KeyDigest:
		return nil
	case err == nil:
		err = os.Rename(file, file+".before")
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	if err != nil {
		return fmt.Errorf("restore the cluster's key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o711); err != nil {
		return fmt.Errorf("restore the cluster's key: %w", err)
	}
	if err := writeSynced(file+".new", []byte(r.backup.SecretKey)); err != nil {
		return fmt.Errorf("restore the cluster's key: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("restore the cluster's key: %w", err)
	}
	return nil
}

// write writes all keys but the cluster's id, without which nobody acts on them.
func (r *restoring) write(ctx context.Context, keys *store.Store) error {
	if _, err := keys.Create(ctx, state.RestoringKey, r.backup.Time.Format(time.RFC3339), 0); err != nil {
		return err
	}
	return r.backup.Replay(keyWriter{ctx, keys}, func(k backup.Key) bool {
		if k.Key == state.ClusterKey || strings.HasPrefix(k.Key, state.LeavingDir+"/") || strings.HasPrefix(k.Key, state.EventsDir+"/") {
			return false
		}
		host, isHost := state.ParseHostKey(k.Key)
		return !isHost && !r.isRecordOfGone(k) || isHost && !slices.Contains(r.gone, host.IP)
	})
}

// isRecordOfGone tells of the DNS record of an instance on a host that is not there any more: nobody
// would take it away.
func (r *restoring) isRecordOfGone(k backup.Key) bool {
	var record struct{ Host string }
	return state.IsInstanceRecord(k.Key) && json.Unmarshal([]byte(k.Value), &record) == nil && slices.Contains(r.gone, record.Host)
}

// keyWriter writes into an etcd.
type keyWriter struct {
	ctx  context.Context
	keys *store.Store
}

// Create is that of backup.Writer.
func (w keyWriter) Create(key, value string) (uint64, error) {
	node, err := w.keys.Create(w.ctx, key, value, 0)
	return node.Modified, err
}

// Update is that of backup.Writer.
func (w keyWriter) Update(key, value string, prev uint64) (uint64, error) {
	node, err := w.keys.CompareAndSwap(w.ctx, key, value, prev)
	return node.Modified, err
}

// renewEtcd makes an etcd without any keys, and returns where its members are. The conductors are
// removed first: they are started when there is something to act on.
func (i *installation) renewEtcd(ctx context.Context) ([]netip.Addr, error) {
	err := i.onEach(ctx, func(ctx context.Context, host Host) error {
		return i.engines[host.IP()].removeDaemon(ctx, conductorName)
	})
	if err != nil {
		return nil, err
	}
	err = i.onEach(ctx, func(ctx context.Context, host Host) error { return i.engines[host.IP()].clearEtcd(ctx) })
	if err != nil {
		return nil, err
	}
	if err := i.formEtcd(ctx, etcdFound{}); err != nil {
		return nil, err
	}
	members, err := i.settleMembers(ctx)
	if err != nil {
		return nil, err
	}
	i.progress.done("etcd: made anew")
	return members, i.renewGateways(ctx, members)
}

// startConductors starts the conductors, which wait for the cluster's id.
func (i *installation) startConductors(ctx context.Context, members []netip.Addr) error {
	all := addresses(i.hosts)
	return i.onEach(ctx, func(ctx context.Context, host Host) error {
		for _, d := range daemonsOf(host.IP(), all, members, i.doors, i.key, i.ambassadorMode) {
			if d.name == conductorName {
				return i.run(ctx, host, d)
			}
		}
		return nil
	})
}

// openMembers opens the keys at etcd itself.
func (i *installation) openMembers(members []netip.Addr) (*store.Store, error) {
	var endpoints []string
	for _, member := range members {
		endpoints = append(endpoints, i.doors.member(member))
	}
	return openEndpoints(endpoints, doors{keys: i.doors.etcd}, dialTo(i.hosts), i.log, writeTimeout)
}

// refuseHalf fails where a restore did not come to its end: nobody may act on what is there.
func (i *installation) refuseHalf(ctx context.Context, members []netip.Addr) error {
	keys, err := i.openMembers(members)
	if err != nil {
		return err
	}
	defer keys.Close()
	switch _, err := keys.Get(ctx, state.RestoringKey); {
	case err == nil:
		return errors.New("a restore did not come to its end; the same dokkaacfg restore begins anew")
	case errors.Is(err, store.ErrNotFound):
		return nil
	default:
		return err
	}
}

// removeDaemon removes the container of one of our daemons, and any that it was to take over from.
func (e *engine) removeDaemon(ctx context.Context, name string) error {
	before, err := e.predecessors(ctx, name)
	if err != nil {
		return err
	}
	for _, p := range before {
		if err := removeContainer(ctx, e.client, p.id); err != nil {
			return err
		}
	}
	container, err := e.find(ctx, name)
	if err != nil || container == nil || !isOurs(container, name) {
		return err
	}
	return removeContainer(ctx, e.client, container.ID)
}
