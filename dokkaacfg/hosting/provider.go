// Package hosting says what a provider of hosts is: something that makes, lists and removes them.
// What is done on a host is not its business: that is one provisioner's, over SSH, whoever made
// the host.
package hosting

import (
	"context"
	"net/netip"
)

// Host is a machine that can be reached over SSH.
type Host struct {
	Name    string         // <cluster>-<n>, or what the operator calls it; one of its kind in the cluster
	ID      string         // of this very machine: a later one may get its name and address; "" if nobody knows
	SSH     netip.AddrPort // its SSH server, as seen from this machine; invalid while it has no address
	User    string         // who logs in: root, or one who becomes root by sudo without a password
	KeyFile string         // file of the private key; "" for those of the agent and the usual files
	Private netip.Addr     // by which the cluster's other hosts reach it; invalid while it has none
}

// Provider makes, lists and removes the hosts of one cluster. Every method may be called again
// after it failed or was interrupted, and goes on where things stand: what there is counts, not
// what was done. Methods are not called at the same time.
type Provider interface {
	// Plan says what Make would make, and changes nothing.
	Plan(ctx context.Context, scale int) (Plan, error)
	// Make makes hosts until there are at least scale, with all that belongs to them, and waits
	// until each has its addresses; it never removes one. It returns all hosts by name. That one
	// answers to SSH is not said.
	Make(ctx context.Context, scale int, tell Tell) ([]Host, error)
	// List returns everything of the cluster that exists; nothing is no error.
	List(ctx context.Context) (Inventory, error)
	// Remove removes a host with its disk, and is done when it is gone. One that is not there is
	// no error.
	Remove(ctx context.Context, name string) error
	// RemoveAll removes everything that List returns but what is kept, and is done when it is gone.
	RemoveAll(ctx context.Context) error
}

// Tell is told of each step that is done, in words, as by fmt.Printf.
type Tell func(format string, args ...any)

// Inventory is what exists of a cluster.
type Inventory struct {
	Hosts  []Host   // by number
	Others []string // what belongs to them, in words: "firewall web", "volume data of 10 GiB"
	Kept   []string // what RemoveAll leaves, in words with the reason, though it may look like theirs
}
