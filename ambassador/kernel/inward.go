package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/google/nftables/xt"
)

// Docker keeps the containers of a bridge from each other in the table that iptables has, where no other
// table can overrule it. What it leaves to users is this chain there, which comes first.
const (
	dockerTable = "filter"
	dockerChain = "DOCKER-USER"
	ruleComment = "dokkaa-ambassador"
	// bridgeFilter makes packets pass the tables that go from one port of a bridge to another.
	bridgeFilter = "/proc/sys/net/bridge/bridge-nf-call-iptables"
)

// errNoChain is that Docker has no such chain: it is told not to keep one, or keeps its rules otherwise.
var errNoChain = fmt.Errorf("there is no chain %s in nftables table ip %s", dockerChain, dockerTable)

// AllowInward lets the connections that a Table made pass between containers of the bridge. It errs if
// that cannot be: then only other hosts' instances are for the kernel. It is cheap if all is done.
func AllowInward(bridge string) error {
	filtered, err := os.ReadFile(bridgeFilter)
	if err != nil {
		return fmt.Errorf("read whether bridges filter: %w", err)
	}
	if strings.TrimSpace(string(filtered)) != "1" {
		return errors.New("answers between containers would not be translated: net.bridge.bridge-nf-call-iptables is off")
	}
	conn, chain, rules, err := inwardRules()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(rules, isInward) {
		return nil
	}
	conn.InsertRule(&nftables.Rule{Table: chain.Table, Chain: chain, UserData: inwardMark(), Exprs: join(
		throughBridge(bridge), outOfBridge(bridge),
		// As iptables writes it, or iptables could not read its own table any more.
		&expr.Match{Name: "connmark", Rev: 1, Info: connmark(markPrefix, markMask)},
		&expr.Counter{}, verdict(expr.VerdictAccept))})
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("add rule to chain %s: %w", dockerChain, err)
	}
	return nil
}

// ForbidInward takes back AllowInward.
func ForbidInward() error {
	conn, _, rules, err := inwardRules()
	if errors.Is(err, errNoChain) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, rule := range rules {
		if isInward(rule) {
			err = errors.Join(err, conn.DelRule(rule))
		}
	}
	if err := errors.Join(err, conn.Flush()); err != nil {
		return fmt.Errorf("remove rule from chain %s: %w", dockerChain, err)
	}
	return nil
}

// inwardRules are the rules of Docker's chain for users.
func inwardRules() (*nftables.Conn, *nftables.Chain, []*nftables.Rule, error) {
	conn, err := dial()
	if err != nil {
		return nil, nil, nil, err
	}
	chains, err := conn.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("list nftables chains: %w", err)
	}
	i := slices.IndexFunc(chains, func(c *nftables.Chain) bool { return c.Table.Name == dockerTable && c.Name == dockerChain })
	if i < 0 {
		return nil, nil, nil, errNoChain
	}
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: dockerTable}
	chain := &nftables.Chain{Table: table, Name: dockerChain}
	rules, err := conn.GetRules(table, chain)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("read rules of chain %s: %w", dockerChain, err)
	}
	return conn, chain, rules, nil
}

func inwardMark() []byte { return userdata.AppendString(nil, userdata.TypeComment, ruleComment) }

func isInward(rule *nftables.Rule) bool { return bytes.Equal(rule.UserData, inwardMark()) }

// connmark is the xt_connmark_mtinfo1 of iptables, padded.
func connmark(mark, mask uint32) *xt.Unknown {
	info := xt.Unknown(slices.Concat(native(mark), native(mask), make([]byte, 8)))
	return &info
}
