// Package kernel has the kernel connect containers to their links, past the ambassador: nftables
// translates the destination of a new connection, and connection tracking that of all its packets.
//
// A connection is the kernel's only if it comes from the address *and* through the port of the bridge
// that a link is written for. The port's index is never given out again, so a link ends with its
// container, whether anybody removes it or not, and whoever has the address next does not inherit it.
// All that no link is written for goes on to the ambassador's own sockets.
package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
)

// Times of the table.
const (
	// Lifetime is how long the kernel connects after the last Renew. Then all goes on to the
	// ambassador, or to nobody if there is none: what it does not look after may be wrong.
	Lifetime = 3 * time.Second
	// dialTimeout is how long an instance may be silent. After that the caller's next try, which its
	// own TCP makes, is a new choice.
	dialTimeout = time.Second
	failingFor  = 10 * time.Second // is remembered that an instance refused, until it is read
)

// bufferSize is that of the socket: the kernel answers each message of a transaction at its end.
const bufferSize = 8 << 20

// tablePrefix begins the name of each ambassador's table. Two run side by side while one takes over
// from the other, each with a table of its own.
const tablePrefix = "dokkaa-ambassador-"

// Settings are those of a Table.
type Settings struct {
	Name    string     // of the table, told from other ambassadors' of this host
	Bridge  string     // that the containers are on
	Gateway netip.Addr // the host's address there, which they dial
	Ports   [2]uint16  // that they dial, first and last
	Limit   int        // connections of one container; further ones go on to the ambassador
}

// Table is a table in the kernel. It may be used by one goroutine at a time, in the host's network,
// and needs CAP_NET_ADMIN.
type Table struct {
	settings Settings
	table    *nftables.Table // translates
	marker   *nftables.Table // tells by which port of the bridge a packet came

	written bool // the table is in place, with what follows
	have    Rules
	chains  map[string]string // by service
	marks   map[Instance]uint32
	byMark  map[uint32]Instance // also of those that are withdrawn, whose connections go on
	next    uint32
	chain   int
}

// New makes a Table; it does no I/O. first is where the numbers begin that connections are marked
// with: those that an ambassador before this one marked live on.
func New(settings Settings, first uint32) *Table {
	name := tablePrefix + settings.Name
	return &Table{
		settings: settings,
		table:    &nftables.Table{Family: nftables.TableFamilyIPv4, Name: name},
		marker:   &nftables.Table{Family: nftables.TableFamilyBridge, Name: name},
		marks:    make(map[Instance]uint32),
		byMark:   make(map[uint32]Instance),
		next:     first,
	}
}

// Delete removes the table. One that is not there counts as removed. Connections go on.
func (t *Table) Delete() error {
	t.written = false
	return deleteTables(t.settings.Name)
}

// Clean removes the tables of ambassadors that ended without doing so.
func (t *Table) Clean() error {
	all, err := tables()
	for name, alive := range all {
		if !alive && name != t.settings.Name {
			err = errors.Join(err, deleteTables(name))
		}
	}
	return err
}

// Leave takes back AllowInward, unless there is a table that needs it.
func Leave() error {
	all, err := tables()
	if err != nil || len(all) > 0 {
		return err
	}
	return ForbidInward()
}

// tables are those of all ambassadors, by the name that tells them apart, and whether they are looked after.
func tables() (all map[string]bool, err error) {
	conn, err := dial()
	if err != nil {
		return nil, err
	}
	all = make(map[string]bool)
	for _, family := range families {
		listed, err := conn.ListTablesOfFamily(family)
		if err != nil {
			return nil, fmt.Errorf("list nftables tables: %w", err)
		}
		for _, table := range listed {
			name, ours := strings.CutPrefix(table.Name, tablePrefix)
			if !ours || table.Family != family {
				continue
			}
			if all[name] = false; family == nftables.TableFamilyIPv4 {
				elements, err := conn.GetSetElements(&nftables.Set{Table: table, Name: aliveSet})
				if err != nil {
					return nil, fmt.Errorf("read set %s of nftables table %s: %w", aliveSet, table.Name, err)
				}
				all[name] = len(elements) > 0
			}
		}
	}
	return all, nil
}

// families are those of a Table's tables, in the order in which they tell whether it is looked after.
var families = []nftables.TableFamily{nftables.TableFamilyBridge, nftables.TableFamilyIPv4}

func deleteTables(name string) error {
	conn, err := dial()
	if err != nil {
		return err
	}
	for _, family := range families {
		table := &nftables.Table{Family: family, Name: tablePrefix + name}
		conn.AddTable(table) // so that deleting it cannot fail
		conn.DelTable(table)
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("remove nftables table %s%s: %w", tablePrefix, name, err)
	}
	return nil
}

func dial() (*nftables.Conn, error) {
	conn, err := nftables.New(nftables.WithSockOptions(func(conn *netlink.Conn) error {
		return errors.Join(conn.SetReadBuffer(bufferSize), conn.SetWriteBuffer(bufferSize))
	}))
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return conn, nil
}
