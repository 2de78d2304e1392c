package conductor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/skydns/msg"
)

// withdrawLost takes away the DNS records of hosts that were lost, once for each loss. If too many
// are missing, they more likely serve and only cannot say so.
func (t *term) withdrawLost(ctx context.Context, hosts map[string]schedule.Host) error {
	if schedule.Braked(hosts) {
		return nil
	}
	var lost []string
	for ip, host := range hosts {
		if host.Liveness != schedule.Lost {
			delete(t.withdrawn, ip)
		} else if !t.withdrawn[ip] {
			lost = append(lost, ip)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	records, err := t.records(ctx)
	if err != nil {
		return fmt.Errorf("withdraw the records of lost hosts: %w", err)
	}
	errs := make([]error, len(lost))
	atOnce(len(lost), func(i int) { errs[i] = t.withdraw(ctx, lost[i], records[lost[i]]) })
	for i, ip := range lost {
		if errs[i] != nil {
			errs[i] = fmt.Errorf("withdraw the records of lost host %s: %w", ip, errs[i])
			continue
		}
		t.withdrawn[ip] = true
		t.log.Info("host is lost", "host", ip, "withdrawn", len(records[ip]))
	}
	return errors.Join(errs...)
}

// withdraw deletes each record as it was seen. A host that comes back writes all of its records
// anew once it has its lease: what was seen before there was a lease is what it left behind.
func (t *term) withdraw(ctx context.Context, ip string, records []store.Node) error {
	if _, err := t.store.Get(ctx, state.HostLeaseKey(ip)); !errors.Is(err, store.ErrNotFound) {
		return err // nil: it is back
	}
	return t.deleteRecords(ctx, records)
}

// sweep takes away, once, the records of hosts that the cluster does not know any more. known is for
// how long the hosts are known.
func (t *term) sweep(ctx context.Context, hosts map[string]schedule.Host, known time.Duration) error {
	if t.swept || known < patience {
		return nil
	}
	records, err := t.records(ctx)
	for ip, left := range records {
		if _, known := hosts[ip]; !known && err == nil {
			err = t.deleteRecords(ctx, left)
		}
	}
	if err != nil {
		return fmt.Errorf("withdraw the records of forgotten hosts: %w", err)
	}
	t.swept = true
	return nil
}

// records are the records of all instances, by host.
func (t *term) records(ctx context.Context) (map[string][]store.Node, error) {
	listing, err := t.store.List(ctx, state.RecordsDir)
	if err != nil {
		return nil, err
	}
	records := map[string][]store.Node{}
	for _, node := range listing.Nodes {
		var record msg.Service
		if state.IsInstanceRecord(node.Key) && json.Unmarshal([]byte(node.Value), &record) == nil {
			records[record.Host] = append(records[record.Host], node)
		}
	}
	return records, nil
}

func (t *term) deleteRecords(ctx context.Context, records []store.Node) error {
	for _, node := range records {
		err := t.store.CompareAndDelete(ctx, node.Key, node.Modified)
		if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}
