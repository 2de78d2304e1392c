package kernel

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Marks of connections begin with the same bits, and so do those of packets, which carry the index of
// the port of the bridge through which they came.
const (
	markPrefix = 0xd0000000
	markMask   = 0xf0000000
)

// Registers of 4 bytes that a concatenated key is put together in; the first is where register 1 begins.
const (
	reg0 = unix.NFT_REG32_00
	reg1 = unix.NFT_REG32_00 + 1
	reg2 = unix.NFT_REG32_00 + 2
)

const (
	statusAssured = 1 << 2 // IPS_ASSURED: the handshake is over
	replyDir      = 1      // IP_CT_DIR_REPLY
	tcpReset      = 0x04
	tcpSyn        = 0x02
	tcpAck        = 0x10
	unreachable   = 3 // type of ICMP
)

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

func equal(register uint32, data []byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: data}
}

func masked(register, mask uint32) expr.Any {
	return &expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 4, Mask: native(mask), Xor: native(0)}
}

func throughBridge(name string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg0}, equal(reg0, interfaceName(name))}
}

func outOfBridge(name string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg0}, equal(reg0, interfaceName(name))}
}

func interfaceName(name string) []byte {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return padded
}

func protocol(number byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg0}, equal(reg0, []byte{number})}
}

// network and transport load what stands in the packet's headers.
func network(register, offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length}
}

func transport(register, offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: length}
}

// flags are those of TCP that are looked at, and which of them are set.
func flags(look, set byte) []expr.Any {
	return []expr.Any{transport(reg0, 13, 1),
		&expr.Bitwise{SourceRegister: reg0, DestRegister: reg0, Len: 1, Mask: []byte{look}, Xor: []byte{0}},
		equal(reg0, []byte{set})}
}

func ct(key expr.CtKey, register uint32) expr.Any { return &expr.Ct{Key: key, Register: register} }

// ours is of a connection that was marked here.
func ours() []expr.Any {
	return []expr.Any{ct(expr.CtKeyMARK, reg0), masked(reg0, markMask), equal(reg0, native(markPrefix))}
}

func lookup(set *nftables.Set, register uint32) *expr.Lookup {
	return &expr.Lookup{SourceRegister: register, SetName: set.Name, SetID: set.ID}
}

// lookupInto is the lookup of what a map has for the key.
func lookupInto(set *nftables.Set, register, into uint32) *expr.Lookup {
	l := lookup(set, register)
	l.DestRegister, l.IsDestRegSet = into, true
	return l
}

func verdict(kind expr.VerdictKind) expr.Any { return &expr.Verdict{Kind: kind} }

func native(n uint32) []byte { return binaryutil.NativeEndian.PutUint32(n) }
func big(n uint32) []byte    { return binaryutil.BigEndian.PutUint32(n) }

// linkKey, addrData, volumeKey and doorKey are keys and data of the maps, in registers of 4 bytes each.
func linkKey(l Link) []byte {
	key := append(native(markPrefix|l.Port), l.Source.AsSlice()...)
	return append(binary.BigEndian.AppendUint16(key, l.To), 0, 0)
}

func addrData(addr netip.AddrPort) []byte {
	return append(binary.BigEndian.AppendUint16(addr.Addr().AsSlice(), addr.Port()), 0, 0)
}

func volumeKey(mark uint32, direction byte) []byte {
	return append(native(mark), direction, 0, 0, 0)
}

func doorKey(mark, port uint32) []byte { return append(native(mark), native(port)...) }
