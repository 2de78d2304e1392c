package kernel

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Names in the table.
const (
	aliveSet    = "alive"
	linksMap    = "links"
	backendsMap = "backends"
	volumesSet  = "volumes"
	failingSet  = "failing"
	openSet     = "open"
	innerSet    = "inner"
	doorsSet    = "doors"
	dialChain   = "dial"
	patience    = "patience"
	service     = "service-"
)

// atOnce is how many elements go into one message, whose length is limited.
const atOnce = 200

// Apply brings the table in line with the rules: what changed, in one transaction. Connections that
// are open go on. If it errs, nothing was changed, and the next call writes the table anew.
func (t *Table) Apply(want Rules) error {
	c := difference(t.have, want)
	if t.written && c.none() {
		return nil
	}
	conn, err := dial()
	if err != nil {
		return err
	}
	if !t.written {
		t.have, t.chains = Rules{}, make(map[string]string)
		clear(t.marks)
		clear(t.byMark)
		c = difference(t.have, want)
		if err := t.begin(conn); err != nil {
			return fmt.Errorf("write nftables table %s: %w", t.table.Name, err)
		}
	}
	if err := errors.Join(t.change(conn, want, c), conn.Flush()); err != nil {
		t.written = false
		return fmt.Errorf("write nftables table %s: %w", t.table.Name, err)
	}
	t.have, t.written = Rules{Links: maps.Clone(want.Links), Services: maps.Clone(want.Services)}, true
	return nil
}

// change adds the changes to the transaction.
func (t *Table) change(conn *nftables.Conn, want Rules, c changes) error {
	var links, gone, backends, volumes, inner, doors []nftables.SetElement
	for _, link := range c.unlink {
		gone = append(gone, nftables.SetElement{Key: linkKey(link)})
	}
	for _, i := range c.come {
		if _, known := t.marks[i]; known {
			continue // it was withdrawn, and is back
		}
		mark := t.mark(i)
		backends = append(backends, nftables.SetElement{Key: native(mark), Val: addrData(i.Addr)})
		volumes = append(volumes, nftables.SetElement{Key: volumeKey(mark, 0)}, nftables.SetElement{Key: volumeKey(mark, replyDir)})
		if i.Port != 0 {
			inner = append(inner, nftables.SetElement{Key: native(mark)})
			doors = append(doors, nftables.SetElement{Key: doorKey(mark, i.Port)})
		}
	}
	err := errors.Join(inParts(gone, t.links(), conn.SetDeleteElements), inParts(backends, t.backends(), conn.SetAddElements),
		inParts(volumes, t.volumes(), conn.SetAddElements),
		inParts(inner, t.inner(), conn.SetAddElements), inParts(doors, t.doors(), conn.SetAddElements))
	for _, name := range c.altered {
		err = errors.Join(err, t.writeService(conn, name, want.Services[name]))
	}
	for _, link := range c.link {
		links = append(links, nftables.SetElement{Key: linkKey(link),
			VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: t.chains[want.Links[link]]}})
	}
	err = errors.Join(err, inParts(links, t.links(), conn.SetAddElements))
	for _, name := range c.gone {
		conn.DelChain(&nftables.Chain{Table: t.table, Name: t.chains[name]})
		delete(t.chains, name)
	}
	return err
}

// mark numbers the instance, for the connections to it. No number is used twice, for they may outlive it.
func (t *Table) mark(i Instance) uint32 {
	for {
		mark := markPrefix | t.next&^markMask
		t.next++
		if _, used := t.byMark[mark]; !used {
			t.marks[i], t.byMark[mark] = mark, i
			return mark
		}
	}
}

// writeService writes the chain that chooses an instance of the service: one at random, by weight.
func (t *Table) writeService(conn *nftables.Conn, name string, shares []Share) error {
	chain := &nftables.Chain{Table: t.table, Name: t.chains[name]}
	if chain.Name == "" {
		chain.Name = service + strconv.Itoa(t.chain)
		t.chain++
		t.chains[name] = chain.Name
		conn.AddChain(chain)
	} else {
		conn.FlushChain(chain)
	}
	var total uint32
	var parts []nftables.SetElement
	for _, share := range shares {
		parts = append(parts, nftables.SetElement{Key: big(total), Val: native(t.marks[Instance{name, share.Announced, share.Inside}])})
		total += share.Weight
		parts = append(parts, nftables.SetElement{Key: big(total), IntervalEnd: true})
	}
	choice := &nftables.Set{Table: t.table, Anonymous: true, Constant: true, IsMap: true, Interval: true,
		KeyType: nftables.TypeInteger, DataType: nftables.TypeMark}
	if err := conn.AddSet(choice, parts); err != nil {
		return err
	}
	conn.AddRule(&nftables.Rule{Table: t.table, Chain: chain, Exprs: join(
		&expr.Numgen{Register: reg0, Modulus: total, Type: unix.NFT_NG_RANDOM},
		&expr.Byteorder{SourceRegister: reg0, DestRegister: reg0, Op: expr.ByteorderHton, Len: 4, Size: 4},
		lookupInto(choice, reg0, reg0),
		&expr.Ct{Key: expr.CtKeyMARK, Register: reg0, SourceRegister: true},
		&expr.Verdict{Kind: expr.VerdictGoto, Chain: dialChain})})
	return nil
}

// Forget stops to count what instances carry that are withdrawn, and carry nothing any more.
func (t *Table) Forget(instances []Instance) error {
	conn, err := dial()
	if err != nil {
		return err
	}
	var backends, volumes, inner, doors []nftables.SetElement
	for _, i := range instances {
		mark, ok := t.marks[i]
		if !ok || t.have.has(i) {
			continue
		}
		delete(t.marks, i)
		delete(t.byMark, mark)
		backends = append(backends, nftables.SetElement{Key: native(mark)})
		volumes = append(volumes, nftables.SetElement{Key: volumeKey(mark, 0)}, nftables.SetElement{Key: volumeKey(mark, replyDir)})
		if i.Port != 0 {
			inner = append(inner, nftables.SetElement{Key: native(mark)})
			doors = append(doors, nftables.SetElement{Key: doorKey(mark, i.Port)})
		}
	}
	err = errors.Join(inParts(backends, t.backends(), conn.SetDeleteElements), inParts(volumes, t.volumes(), conn.SetDeleteElements),
		inParts(inner, t.inner(), conn.SetDeleteElements), inParts(doors, t.doors(), conn.SetDeleteElements), conn.Flush())
	if err != nil {
		t.written = false
		return fmt.Errorf("write nftables table %s: %w", t.table.Name, err)
	}
	return nil
}

// Renew has the kernel go on for another Lifetime. It errs if somebody removed the table.
func (t *Table) Renew() error {
	if !t.written {
		return errors.New("the table is not written")
	}
	conn, err := dial()
	if err != nil {
		return err
	}
	alive := t.alive()
	conn.FlushSet(alive) // an element that is there does not begin anew
	if err := conn.SetAddElements(alive, lives()); err != nil {
		return err
	}
	if err := conn.Flush(); err != nil {
		t.written = false
		return fmt.Errorf("renew nftables table %s: %w", t.table.Name, err)
	}
	return nil
}

// lives is what the set of a table has whose ambassador looks after it.
func lives() []nftables.SetElement {
	return []nftables.SetElement{{Key: []byte{unix.IPPROTO_TCP}, Timeout: Lifetime}}
}

// inParts hands the elements over in messages that are not too long.
func inParts(all []nftables.SetElement, set *nftables.Set, do func(*nftables.Set, []nftables.SetElement) error) error {
	var errs []error
	for len(all) > 0 {
		n := min(len(all), atOnce)
		errs = append(errs, do(set, all[:n]))
		all = all[n:]
	}
	return errors.Join(errs...)
}

// The sets, as they are written and as they are named later.

func (t *Table) alive() *nftables.Set {
	return &nftables.Set{Table: t.table, Name: aliveSet, KeyType: nftables.TypeInetProto, HasTimeout: true}
}

func (t *Table) links() *nftables.Set {
	return &nftables.Set{Table: t.table, Name: linksMap, IsMap: true, Concatenation: true, DataType: nftables.TypeVerdict,
		KeyType: nftables.MustConcatSetType(nftables.TypeMark, nftables.TypeIPAddr, nftables.TypeInetService)}
}

func (t *Table) backends() *nftables.Set {
	return &nftables.Set{Table: t.table, Name: backendsMap, IsMap: true, Counter: true, KeyType: nftables.TypeMark,
		DataType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService)}
}

func (t *Table) volumes() *nftables.Set {
	return &nftables.Set{Table: t.table, Name: volumesSet, Counter: true, Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeMark, nftables.TypeCTDir)}
}

func (t *Table) failing() *nftables.Set {
	return &nftables.Set{Table: t.table, Name: failingSet, KeyType: nftables.TypeMark, HasTimeout: true, Dynamic: true, Size: 1 << 16,
		Timeout: failingFor}
}

func (t *Table) open() *nftables.Set {
	return &nftables.Set{Table: t.table, Name: openSet, KeyType: nftables.TypeIPAddr, Dynamic: true, Size: 1 << 16}
}

func (t *Table) inner() *nftables.Set {
	return &nftables.Set{Table: t.marker, Name: innerSet, KeyType: nftables.TypeMark}
}

func (t *Table) doors() *nftables.Set {
	return &nftables.Set{Table: t.marker, Name: doorsSet, Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeMark, nftables.TypeIFIndex)}
}

var dialSeconds = uint32(dialTimeout / time.Second)
