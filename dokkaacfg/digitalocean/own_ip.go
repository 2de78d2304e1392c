package digitalocean

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// ownIPService answers with the address that it was called from, and nothing else.
const ownIPService = "https://checkip.amazonaws.com"

// askOwnIP asks the world for this machine's IPv4 address: droplets are reached by theirs. No proxy
// is used, because SSH does not use it either.
func askOwnIP(ctx context.Context, service string) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	dialer := &net.Dialer{}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp4", address)
		},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, service, nil)
	if err != nil {
		return netip.Addr{}, err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return netip.Addr{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 64))
	if err != nil {
		return netip.Addr{}, err
	}
	ip, err := netip.ParseAddr(strings.TrimSpace(string(text)))
	if err != nil || response.StatusCode != http.StatusOK || !ip.Is4() {
		return netip.Addr{}, fmt.Errorf("%s answers %s, %.20q", service, response.Status, text)
	}
	return ip, nil
}
