package agent

import (
	"context"
	"encoding/json"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/skydns/msg"
)

// load reads which keys of this host are in the store.
func (p *publisher) load(ctx context.Context) (stored map[string]string, all int, err error) {
	ctx, cancel := context.WithTimeout(ctx, publishList)
	defer cancel()
	stored = map[string]string{}
	own, err := p.store.List(ctx, state.HostDir(p.hostIP))
	if err != nil {
		return nil, 0, err
	}
	for _, node := range own.Nodes {
		if key, ok := state.ParseHostKey(node.Key); ok && (key.Kind == "instances" || key.Kind == "volumes") {
			stored[node.Key] = node.Value
		}
	}
	records, err := p.store.List(ctx, state.RecordsDir)
	if err != nil {
		return nil, 0, err
	}
	for _, node := range records.Nodes {
		var record msg.Service
		if json.Unmarshal([]byte(node.Value), &record) == nil && record.Host == p.hostIP && state.IsInstanceRecord(node.Key) {
			stored[node.Key] = node.Value
		}
	}
	return stored, len(records.Nodes), nil
}
