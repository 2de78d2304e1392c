package kernel

import (
	"errors"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Priorities of the chains, among those of others at the same place.
const (
	markAt      = -250 // before the bridge hands the packet to IP
	translateAt = -110 // before Docker's translation (-100), behind the firewall (-150)
	forgetAt    = -90  // behind both
	throughAt   = -10  // before Docker's filter (0)
)

// begin adds to the transaction what does not change:
//
//	table bridge {
//	    chain port { type filter hook prerouting
//	        ip daddr <gateway> tcp dport <ports> tcp flags syn / syn,ack  meta mark set 0xd0000000 | iif
//	    }
//	    chain door { type filter hook postrouting
//	        meta mark @inner  meta mark . oif != @doors  drop
//	    }
//	}
//	table ip {
//	    chain translate { type nat hook prerouting
//	        iifname <bridge> ip protocol @alive  meta mark . ip saddr . tcp dport vmap @links → service-<n>
//	    }
//	    chain service-<n> { ct mark set numgen random mod <weights> map { ... }  goto dial }
//	    chain dial { ct timeout set patience  dnat to ct mark map @backends }
//	    chain forget { type filter hook prerouting
//	        meta mark & 0xf0000000 == 0xd0000000  ct mark & 0xf0000000 == 0xd0000000  ct status assured  drop
//	        meta mark & 0xf0000000 == 0xd0000000  meta mark set 0
//	    }
//	    chain through { type filter hook forward
//	        ct mark & 0xf0000000 != 0xd0000000 return
//	        ct mark . ct direction @volumes
//	        ct status assured return
//	        oifname <bridge> ct direction original  meta mark set ct mark
//	        ct direction reply tcp flags rst  goto refused
//	        icmp type destination-unreachable  goto refused
//	    }
//	    chain told { type filter hook output
//	        ct mark & 0xf0000000 == 0xd0000000  ct status ! assured  icmp type destination-unreachable  goto refused
//	    }
//	    chain refused { add @failing { ct mark }  drop }
//	}
//
// What is dropped before it is forgotten is a first packet on a connection that was open already: of the
// next owner of the address, by chance from the same port. It must not go where that connection went.
//
// The doors are for this host's instances what the links are for callers: who has the address of one
// next is not taken for it.
//
// A refusal is not handed through: the caller's TCP says its first word again after a second, and
// then the connection is one of the ambassador's, who tries other instances.
func (t *Table) begin(conn *nftables.Conn) error {
	for _, table := range []*nftables.Table{t.table, t.marker} {
		conn.AddTable(table) // so that deleting it cannot fail
		conn.DelTable(table)
		conn.AddTable(table)
	}
	alive, links, backends, volumes, failing, open := t.alive(), t.links(), t.backends(), t.volumes(), t.failing(), t.open()
	errs := []error{conn.AddSet(alive, lives())} // or another ambassador would take it for one that was left
	for _, set := range []*nftables.Set{links, backends, volumes, failing, open} {
		errs = append(errs, conn.AddSet(set, nil))
	}
	conn.AddObj(&nftables.NamedObj{Table: t.table, Name: patience, Type: nftables.ObjTypeCtTimeout, Obj: &expr.CtTimeout{
		L3Proto: unix.NFPROTO_IPV4, L4Proto: unix.IPPROTO_TCP,
		Policy: expr.CtStatePolicyTimeout{expr.CtStateTCPSYNSENT: dialSeconds, expr.CtStateTCPESTABLISHED: 432000}}})
	inner, doors := t.inner(), t.doors()
	errs = append(errs, conn.AddSet(inner, nil), conn.AddSet(doors, nil))
	t.atBridge(conn, inner, doors)
	dial := conn.AddChain(&nftables.Chain{Table: t.table, Name: dialChain})
	t.rule(conn, dial,
		&expr.Objref{Type: int(nftables.ObjTypeCtTimeout), Name: patience},
		ct(expr.CtKeyMARK, reg0), lookupInto(backends, reg0, reg0),
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: reg0, RegProtoMin: reg1})
	translate := t.hook(conn, "translate", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, translateAt)
	t.rule(conn, translate, throughBridge(t.settings.Bridge),
		network(reg0, 9, 1), lookup(alive, reg0),
		network(reg0, 12, 4), &expr.Dynset{SrcRegKey: reg0, SetName: open.Name, SetID: open.ID, Operation: uint32(unix.NFT_DYNSET_OP_ADD),
			Exprs: []expr.Any{&expr.Connlimit{Count: uint32(t.settings.Limit), Flags: expr.NFT_CONNLIMIT_F_INV}}},
		verdict(expr.VerdictReturn))
	t.rule(conn, translate, throughBridge(t.settings.Bridge),
		network(reg0, 9, 1), lookup(alive, reg0),
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg0}, network(reg1, 12, 4), transport(reg2, 2, 2),
		lookupInto(links, reg0, unix.NFT_REG_VERDICT))
	forget := t.hook(conn, "forget", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, forgetAt)
	marked := []expr.Any{&expr.Meta{Key: expr.MetaKeyMARK, Register: reg0}, masked(reg0, markMask), equal(reg0, native(markPrefix))}
	t.rule(conn, forget, marked, ours(), ct(expr.CtKeySTATUS, reg0), masked(reg0, statusAssured), equal(reg0, native(statusAssured)),
		verdict(expr.VerdictDrop))
	t.rule(conn, forget, marked,
		&expr.Immediate{Register: reg0, Data: native(0)}, &expr.Meta{Key: expr.MetaKeyMARK, Register: reg0, SourceRegister: true})
	t.watch(conn, volumes, failing)
	return errors.Join(errs...)
}

// atBridge adds the chains of the bridge, which alone knows the ports through which a packet comes and goes.
func (t *Table) atBridge(conn *nftables.Conn, inner, doors *nftables.Set) {
	port := conn.AddChain(&nftables.Chain{Table: t.marker, Name: "port", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRef(markAt)})
	conn.AddRule(&nftables.Rule{Table: t.marker, Chain: port, Exprs: join(
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: reg0}, equal(reg0, []byte{0x08, 0x00}),
		network(reg0, 16, 4), equal(reg0, t.settings.Gateway.AsSlice()),
		network(reg0, 9, 1), equal(reg0, []byte{unix.IPPROTO_TCP}),
		transport(reg0, 2, 2), &expr.Range{Op: expr.CmpOpEq, Register: reg0,
			FromData: portData(t.settings.Ports[0]), ToData: portData(t.settings.Ports[1])},
		flags(tcpSyn|tcpAck, tcpSyn),
		&expr.Meta{Key: expr.MetaKeyIIF, Register: reg0},
		&expr.Bitwise{SourceRegister: reg0, DestRegister: reg0, Len: 4, Mask: native(^uint32(markMask)), Xor: native(markPrefix)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg0, SourceRegister: true})})
	door := conn.AddChain(&nftables.Chain{Table: t.marker, Name: "door", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityFilter})
	closed := lookup(doors, reg0)
	closed.Invert = true
	conn.AddRule(&nftables.Rule{Table: t.marker, Chain: door, Exprs: join(
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg0}, lookup(inner, reg0), &expr.Meta{Key: expr.MetaKeyOIF, Register: reg1}, closed,
		verdict(expr.VerdictDrop))})
}

// watch adds the chains that count what is carried, and notice what is refused.
func (t *Table) watch(conn *nftables.Conn, volumes, failing *nftables.Set) {
	refused := conn.AddChain(&nftables.Chain{Table: t.table, Name: "refused"})
	t.rule(conn, refused, ct(expr.CtKeyMARK, reg0),
		&expr.Dynset{SrcRegKey: reg0, SetName: failing.Name, SetID: failing.ID, Operation: uint32(unix.NFT_DYNSET_OP_ADD)},
		verdict(expr.VerdictDrop))
	toRefused := &expr.Verdict{Kind: expr.VerdictGoto, Chain: refused.Name}
	noUnreachable := join(protocol(unix.IPPROTO_ICMP), transport(reg0, 0, 1), equal(reg0, []byte{unreachable}))

	through := t.hook(conn, "through", nftables.ChainTypeFilter, nftables.ChainHookForward, throughAt)
	t.rule(conn, through, ct(expr.CtKeyMARK, reg0), masked(reg0, markMask),
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg0, Data: native(markPrefix)}, verdict(expr.VerdictReturn))
	t.rule(conn, through, ct(expr.CtKeyMARK, reg0), ct(expr.CtKeyDIRECTION, reg1), lookup(volumes, reg0))
	t.rule(conn, through, ct(expr.CtKeySTATUS, reg0), masked(reg0, statusAssured), equal(reg0, native(statusAssured)),
		verdict(expr.VerdictReturn))
	t.rule(conn, through, outOfBridge(t.settings.Bridge), ct(expr.CtKeyDIRECTION, reg0), equal(reg0, []byte{0}),
		ct(expr.CtKeyMARK, reg0), &expr.Meta{Key: expr.MetaKeyMARK, Register: reg0, SourceRegister: true})
	t.rule(conn, through, ct(expr.CtKeyDIRECTION, reg0), equal(reg0, []byte{replyDir}),
		protocol(unix.IPPROTO_TCP), flags(tcpReset, tcpReset), toRefused)
	t.rule(conn, through, noUnreachable, toRefused)

	told := t.hook(conn, "told", nftables.ChainTypeFilter, nftables.ChainHookOutput, throughAt)
	t.rule(conn, told, ours(), ct(expr.CtKeySTATUS, reg0), masked(reg0, statusAssured), equal(reg0, native(0)), noUnreachable, toRefused)
}

func (t *Table) hook(conn *nftables.Conn, name string, kind nftables.ChainType, hook *nftables.ChainHook, priority nftables.ChainPriority) *nftables.Chain {
	return conn.AddChain(&nftables.Chain{Table: t.table, Name: name, Type: kind, Hooknum: hook, Priority: &priority})
}

func (t *Table) rule(conn *nftables.Conn, chain *nftables.Chain, parts ...any) {
	conn.AddRule(&nftables.Rule{Table: t.table, Chain: chain, Exprs: join(parts...)})
}

func portData(port uint16) []byte { return []byte{byte(port >> 8), byte(port)} }
