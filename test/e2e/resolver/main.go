// Command resolver looks a service up with Go's own resolver, from inside a container, and prints
// what it found: addresses and ports for "srv", addresses for "host".
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	found, err := lookup(ctx, os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "resolver:", err)
		os.Exit(1)
	}
	fmt.Println(strings.Join(found, "\n"))
}

func lookup(ctx context.Context, kind, name string) (found []string, err error) {
	resolver := &net.Resolver{PreferGo: true}
	if kind == "host" {
		return resolver.LookupHost(ctx, name)
	}
	_, services, err := resolver.LookupSRV(ctx, "", "", name)
	if err != nil {
		return nil, err
	}
	for _, s := range services {
		addrs, err := resolver.LookupHost(ctx, s.Target)
		if err != nil {
			return nil, err
		}
		found = append(found, net.JoinHostPort(addrs[0], fmt.Sprint(s.Port)))
	}
	return found, nil
}
