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

// resolve asks a host's nameserver where a service is: at least at one address.
func (c *cluster) resolve(ctx context.Context, host int, service string) (addrs []string, err error) {
	query := new(dns.Msg).SetQuestion(service+"."+app+".skydns.local.", dns.TypeSRV)
	client := dns.Client{Timeout: time.Second}
	reply, _, err := client.ExchangeContext(ctx, query, net.JoinHostPort(c.ip(host), "53"))
	if err != nil {
		return nil, err
	}
	for _, answer := range reply.Answer {
		srv, ok := answer.(*dns.SRV)
		if !ok {
			continue
		}
		for _, extra := range reply.Extra {
			if a, ok := extra.(*dns.A); ok && a.Hdr.Name == srv.Target {
				addrs = append(addrs, net.JoinHostPort(a.A.String(), strconv.Itoa(int(srv.Port))))
			}
		}
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%s is not announced (%s)", service, dns.RcodeToString[reply.Rcode])
	}
	return addrs, nil
}

// fetch gets a page.
func fetch(ctx context.Context, client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
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
func get(ctx context.Context, client *http.Client, addr string) error {
	page, err := fetch(ctx, client, "http://"+addr+"/")
	if err == nil && !strings.Contains(page, "Welcome to nginx") {
		err = fmt.Errorf("not the page: %q", page)
	}
	return err
}

// servesByName waits until the page is served at an address that a host's nameserver gives.
func (c *cluster) servesByName(ctx context.Context, host int, service string) error {
	return until(ctx, polling, func() error {
		addrs, err := c.resolve(ctx, host, service)
		if err != nil {
			return err
		}
		return get(ctx, c.http, addrs[0])
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
