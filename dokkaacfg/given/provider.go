// Package given is the provider of hosts that are there already: the operator names them, and keeps
// them afterwards.
package given

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dokkaa/dokkaa/dokkaacfg/hosting"
)

// Provider remembers the hosts of a cluster in a file.
type Provider struct {
	file string
	more []Address
}

var _ hosting.Provider = (*Provider)(nil)

// New returns the provider whose hosts are in the file, which need not exist, and to which Make adds
// more.
func New(file string, more []Address) *Provider { return &Provider{file: file, more: more} }

// Address is how an operator names a host.
type Address struct {
	User    string
	Name    string // or address
	Port    uint16
	Private netip.Addr // invalid: the address itself
	KeyFile string
}

// ParseAddress reads [user@]address[:port][=private], where private is the IPv4 address by which
// the cluster's other hosts reach it, if that is another.
func ParseAddress(text string) (Address, error) {
	a := Address{User: "root", Port: 22}
	rest, private, found := strings.Cut(text, "=")
	if found {
		var err error
		if a.Private, err = netip.ParseAddr(private); err != nil || !a.Private.Is4() {
			return a, fmt.Errorf("host %q: after = there must be an IPv4 address, by which the others reach it", text)
		}
	}
	if user, host, found := strings.Cut(rest, "@"); found {
		a.User, rest = user, host
	}
	a.Name = rest
	if name, port, found := strings.Cut(rest, ":"); found {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 {
			return a, fmt.Errorf("host %q: %q is no port", text, port)
		}
		a.Name, a.Port = name, uint16(number)
	}
	if a.Name == "" || a.User == "" || strings.ContainsAny(a.Name, " ,/@") || strings.HasPrefix(a.Name, "-") {
		return a, fmt.Errorf("host %q does not have the form [user@]address[:port][=private]", text)
	}
	return a, nil
}

// Plan says which hosts Make would add.
func (p *Provider) Plan(ctx context.Context, scale int) (hosting.Plan, error) {
	old, err := p.read()
	if err != nil {
		return hosting.Plan{}, err
	}
	all, err := p.merged(ctx, old, scale)
	var plan hosting.Plan
	for _, host := range all {
		if !slices.ContainsFunc(old, func(o hosting.Host) bool { return o.Name == host.Name }) {
			plan.Items = append(plan.Items, hosting.Item{What: fmt.Sprintf("host %s (%s@%s), which is there already", host.Name, host.User, host.SSH)})
		}
	}
	return plan, err
}

// Make remembers the hosts that were named, and fails if that makes fewer than scale.
func (p *Provider) Make(ctx context.Context, scale int, _ hosting.Tell) ([]hosting.Host, error) {
	old, err := p.read()
	if err != nil {
		return nil, err
	}
	all, err := p.merged(ctx, old, scale)
	if err != nil || slices.Equal(all, old) {
		return all, err
	}
	return all, p.write(all)
}

// List returns the hosts that are remembered.
func (p *Provider) List(context.Context) (hosting.Inventory, error) {
	all, err := p.read()
	return hosting.Inventory{Hosts: all}, err
}

// Remove forgets a host. It goes on, as its owner wants it to.
func (p *Provider) Remove(_ context.Context, name string) error {
	all, err := p.read()
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(slices.Clone(all), func(host hosting.Host) bool { return host.Name == name })
	if len(left) == len(all) {
		return nil
	}
	return p.write(left)
}

// RemoveAll forgets all hosts.
func (p *Provider) RemoveAll(context.Context) error {
	if err := os.Remove(p.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget hosts: %w", err)
	}
	return nil
}

// merged are the old hosts and those that were named now. One that was known is logged into as it
// was said last, but keeps the address by which the others know it.
func (p *Provider) merged(ctx context.Context, old []hosting.Host, scale int) ([]hosting.Host, error) {
	all := slices.Clone(old)
	for _, address := range p.more {
		host, err := address.host(ctx)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(all, func(o hosting.Host) bool { return o.Name == host.Name })
		same := func(o hosting.Host) bool {
			return o.Name != host.Name && (o.Private == host.Private || o.SSH == host.SSH)
		}
		switch other := slices.IndexFunc(all, same); {
		case other >= 0:
			return nil, fmt.Errorf("hosts %s and %s are one: both are %s", all[other].Name, host.Name, host.Private)
		case i < 0:
			all = append(all, host)
		case address.Private.IsValid() && address.Private != all[i].Private:
			return nil, fmt.Errorf("host %s is known to the others by %s, it cannot become %s", host.Name, all[i].Private, address.Private)
		default:
			host.Private, host.KeyFile = all[i].Private, cmp.Or(host.KeyFile, all[i].KeyFile)
			all[i] = host
		}
	}
	if len(all) < scale || len(all) == 0 {
		return nil, fmt.Errorf("there are %d hosts, not %d: --host=user@address, once for each, adds some", len(all), max(scale, 1))
	}
	return all, nil
}

// host finds the address of a name, IPv4 as the cluster's is.
func (a Address) host(ctx context.Context) (hosting.Host, error) {
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", a.Name)
	if err != nil {
		return hosting.Host{}, fmt.Errorf("find host %s: %w", a.Name, err)
	}
	ip := found[0].Unmap()
	host := hosting.Host{Name: a.Name, User: a.User, SSH: netip.AddrPortFrom(ip, a.Port), Private: a.Private, KeyFile: a.KeyFile}
	if !host.Private.IsValid() {
		host.Private = ip
	}
	return host, nil
}

// read returns the hosts in the order in which they came.
func (p *Provider) read() (all []hosting.Host, err error) {
	data, err := os.ReadFile(p.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read hosts: %w", err)
	}
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("read hosts: %s: %w", p.file, err)
	}
	return all, nil
}

// write writes the whole file or none.
func (p *Provider) write(all []hosting.Host) error {
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("write hosts: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(p.file), 0o711); err != nil {
		return fmt.Errorf("write hosts: %w", err)
	}
	temp := p.file + ".new"
	if err := os.WriteFile(temp, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write hosts: %w", err)
	}
	if err := os.Rename(temp, p.file); err != nil {
		return fmt.Errorf("write hosts: %w", err)
	}
	return nil
}
