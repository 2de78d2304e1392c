package kernel

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables"
)

// Traffic is what the kernel counted for an instance since the table was written.
type Traffic struct {
	Opened   uint64 // connections
	Up, Down uint64 // bytes, with the headers of IP and TCP
	Answers  uint64 // packets
}

// Traffic reads what was counted. Instances that are withdrawn are counted on: their connections are.
func (t *Table) Traffic() (map[Instance]Traffic, error) {
	conn, err := dial()
	if err != nil {
		return nil, err
	}
	backends, err1 := conn.GetSetElements(t.backends())
	volumes, err2 := conn.GetSetElements(t.volumes())
	for _, err := range []error{err1, err2} {
		if err != nil {
			return nil, fmt.Errorf("read counters of nftables table %s: %w", t.table.Name, err)
		}
	}
	all := make(map[Instance]Traffic, len(backends))
	for _, e := range backends {
		if instance, ok := t.instanceOf(e); ok && e.Counter != nil {
			traffic := all[instance]
			traffic.Opened += e.Counter.Packets
			all[instance] = traffic
		}
	}
	for _, e := range volumes {
		instance, ok := t.instanceOf(e)
		if !ok || e.Counter == nil {
			continue
		}
		traffic := all[instance]
		if e.Key[4] == replyDir {
			traffic.Down += e.Counter.Bytes
			traffic.Answers += e.Counter.Packets
		} else {
			traffic.Up += e.Counter.Bytes
		}
		all[instance] = traffic
	}
	return all, nil
}

// Failing takes the instances that refused a connection since the last call.
func (t *Table) Failing() ([]Instance, error) {
	conn, err := dial()
	if err != nil {
		return nil, err
	}
	elements, err := conn.GetSetElements(t.failing())
	if err != nil {
		return nil, fmt.Errorf("read set %s of nftables table %s: %w", failingSet, t.table.Name, err)
	}
	if len(elements) == 0 {
		return nil, nil
	}
	var all []Instance
	var read []nftables.SetElement
	for _, e := range elements {
		read = append(read, nftables.SetElement{Key: e.Key})
		if instance, ok := t.instanceOf(e); ok {
			all = append(all, instance)
		}
	}
	if err := inParts(read, t.failing(), conn.SetDeleteElements); err != nil {
		return nil, err
	}
	if err := conn.Flush(); err != nil {
		return all, fmt.Errorf("empty set %s of nftables table %s: %w", failingSet, t.table.Name, err)
	}
	return all, nil
}

// instanceOf is whom the mark stands for that the element's key begins with.
func (t *Table) instanceOf(e nftables.SetElement) (Instance, bool) {
	if len(e.Key) < 4 {
		return Instance{}, false
	}
	instance, ok := t.byMark[binary.NativeEndian.Uint32(e.Key)]
	return instance, ok
}
