//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// resolve asks a host's nameserver where a service is.
func (c *cluster) resolve(ctx context.Context, host int, service string) (addr string, err error) {
	query := new(dns.Msg).SetQuestion(service+"."+app+".skydns.local.", dns.TypeSRV)
	client := dns.Client{Timeout: time.Second}
	reply, _, err := client.ExchangeContext(ctx, query, net.JoinHostPort(c.ip(host), "53"))
	if err != nil {
		return "", err
	}
	for _, answer := range reply.Answer {
		srv, ok := answer.(*dns.SRV)
		if !ok {
			continue
		}
		for _, extra := range reply.Extra {
			if a, ok := extra.(*dns.A); ok && a.Hdr.Name == srv.Target {
				return net.JoinHostPort(a.A.String(), strconv.Itoa(int(srv.Port))), nil
			}
		}
	}
	return "", fmt.Errorf("%s is not announced (%s)", service, dns.RcodeToString[reply.Rcode])
}

// fetch gets a page.
func (c *cluster) fetch(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("get %s: %s", url, resp.Status)
	}
	return string(page), err
}

// get fetches the web server's page.
func (c *cluster) get(ctx context.Context, addr string) error {
	page, err := c.fetch(ctx, "http://"+addr+"/")
	if err == nil && !strings.Contains(page, "Welcome to nginx") {
		err = fmt.Errorf("not the page: %q", page)
	}
	return err
}

// serves waits until the page is served at addr.
func (c *cluster) serves(ctx context.Context, addr string) error {
	return until(ctx, polling, func() error { return c.get(ctx, addr) })
}

// servesByName waits until the page is served at an address that a host's nameserver gives.
func (c *cluster) servesByName(ctx context.Context, host int, service string) error {
	return until(ctx, polling, func() error {
		addr, err := c.resolve(ctx, host, service)
		if err != nil {
			return err
		}
		return c.get(ctx, addr)
	})
}

// web is a manifest of the web server, with a service of the container's own name.
func web(name string, scale int) string {
	return fmt.Sprintf(`{"image": %q, "scale": %d, "services": {%q: 80}}`, webImage, scale, name)
}

const (
	webImage   = "dockerfile/nginx"
	shellImage = "dockerfile/ubuntu"
)
