package firewall

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const (
	tableName = "dokkaa"
	hostsSet  = "hosts"
)

// Rules say what containers may reach of the cluster. All else that is not the cluster's they may.
type Rules struct {
	Interface string       // the bridge that they are on
	Gateway   netip.Addr   // the host's address on it
	Ports     [2]uint16    // of the ambassador there, first and last
	Fixed     []netip.Addr // the cluster's without asking etcd: this host, and etcd's own
	Hosts     []netip.Addr // as etcd has them
}

// priority puts the chain behind connection tracking (-200), so that answers are known as such, and
// before Docker's address translation (-100), so that published ports are seen as they were dialled.
const priority = -150

// linkLocal holds the clouds' metadata service, which gives a machine's secrets to any process on it.
var linkLocal = netip.MustParsePrefix("169.254.0.0/16")

// Apply writes the table in one transaction: there is no moment without rules. It needs
// CAP_NET_ADMIN.
//
//	iifname dokkaa ct state established,related accept
//	iifname dokkaa ip daddr <gateway> tcp|udp dport <ports> accept
//	iifname dokkaa ip daddr <gateway> udp|tcp dport 53 accept
//	iifname dokkaa ip daddr 169.254.0.0/16 drop
//	iifname dokkaa fib daddr type local drop
//	iifname dokkaa ip daddr <fixed> drop
//	iifname dokkaa ip daddr @hosts drop
func Apply(r Rules) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableName}
	conn.AddTable(table) // so that deleting it cannot fail
	conn.DelTable(table)
	conn.AddTable(table)
	hosts := &nftables.Set{Table: table, Name: hostsSet, KeyType: nftables.TypeIPAddr}
	elements := make([]nftables.SetElement, 0, len(r.Hosts))
	for _, host := range r.Hosts {
		elements = append(elements, nftables.SetElement{Key: host.AsSlice()})
	}
	if err := conn.AddSet(hosts, elements); err != nil {
		return fmt.Errorf("add set of hosts: %w", err)
	}
	chain := conn.AddChain(&nftables.Chain{Name: "isolate", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRef(priority)})
	from := interfaceIs(r.Interface)
	accept, drop := &expr.Verdict{Kind: expr.VerdictAccept}, &expr.Verdict{Kind: expr.VerdictDrop}
	rules := [][]expr.Any{
		join(from, established(), accept),
		join(from, to(netip.PrefixFrom(r.Gateway, 32)), port(unix.IPPROTO_TCP, r.Ports[0], r.Ports[1]), accept),
		join(from, to(netip.PrefixFrom(r.Gateway, 32)), port(unix.IPPROTO_UDP, r.Ports[0], r.Ports[1]), accept),
		join(from, to(netip.PrefixFrom(r.Gateway, 32)), port(unix.IPPROTO_UDP, 53, 53), accept),
		join(from, to(netip.PrefixFrom(r.Gateway, 32)), port(unix.IPPROTO_TCP, 53, 53), accept),
		join(from, to(linkLocal), drop),
		join(from, local(), drop),
	}
	for _, addr := range r.Fixed {
		rules = append(rules, join(from, to(netip.PrefixFrom(addr, 32)), drop))
	}
	rules = append(rules, join(from, destination(), []expr.Any{&expr.Lookup{SourceRegister: 1, SetName: hosts.Name, SetID: hosts.ID}}, drop))
	for _, rule := range rules {
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: rule})
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("write nftables table %s: %w", tableName, err)
	}
	return nil
}

// hostsInPlace are the hosts that the table holds now, in order; none if there is no table.
func hostsInPlace() ([]netip.Addr, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableName}
	// The library hides the error code of a table that is not there.
	tables, err := conn.ListTablesOfFamily(table.Family)
	if err != nil {
		return nil, fmt.Errorf("list nftables tables: %w", err)
	}
	if !slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == tableName }) {
		return nil, nil
	}
	sets, err := conn.GetSets(table)
	if err != nil {
		return nil, fmt.Errorf("read sets of nftables table %s: %w", tableName, err)
	}
	var hosts []netip.Addr
	for _, set := range sets {
		if set.Table.Name != tableName || set.Name != hostsSet {
			continue
		}
		elements, err := conn.GetSetElements(set)
		if err != nil {
			return nil, fmt.Errorf("read set %s of nftables table %s: %w", hostsSet, tableName, err)
		}
		for _, element := range elements {
			if addr, ok := netip.AddrFromSlice(element.Key); ok {
				hosts = append(hosts, addr)
			}
		}
	}
	slices.SortFunc(hosts, netip.Addr.Compare)
	return hosts, nil
}

// Delete removes the table. One that is not there counts as removed.
func Delete() error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableName}
	conn.AddTable(table) // as in Apply
	conn.DelTable(table)
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("remove nftables table %s: %w", tableName, err)
	}
	return nil
}

func join(parts ...any) []expr.Any {
	var all []expr.Any
	for _, part := range parts {
		switch p := part.(type) {
		case []expr.Any:
			all = append(all, p...)
		case expr.Any:
			all = append(all, p)
		}
	}
	return all
}

func interfaceIs(name string) []expr.Any {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, equal(padded)}
}

func established() []expr.Any {
	mask := binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
	zero := binaryutil.NativeEndian.PutUint32(0)
	return []expr.Any{
		&expr.Ct{Register: 1, Key: expr.CtKeySTATE},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: zero},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: zero},
	}
}

func destination() []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}}
}

func to(prefix netip.Prefix) []expr.Any {
	mask := net.CIDRMask(prefix.Bits(), 32)
	return append(destination(),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		equal(prefix.Masked().Addr().AsSlice()))
}

func port(protocol byte, first, last uint16) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{protocol}),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Range{Op: expr.CmpOpEq, Register: 1,
			FromData: binaryutil.BigEndian.PutUint16(first), ToData: binaryutil.BigEndian.PutUint16(last)},
	}
}

func local() []expr.Any {
	return []expr.Any{&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
		equal(binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL))}
}

func equal(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }
