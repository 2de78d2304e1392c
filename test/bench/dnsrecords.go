//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

const (
	manyNames  = 10_000  // that are asked for at random
	largeCount = 100_000 // records of the start and of the memory
	recordTTL  = 60      // CoreDNS caches no longer
)

// dnsRecord is an instance of a service.
type dnsRecord struct {
	service, instance, host string
	port                    int
}

// contestRecords are a service with three instances, and many with one.
func contestRecords() []dnsRecord {
	var all []dnsRecord
	for i := range 3 {
		all = append(all, dnsRecord{"web.shop.skydns.local.", fmt.Sprintf("0123456789a%d", i), fmt.Sprintf("10.0.0.%d", i+1), 49153 + i})
	}
	for i := range manyNames {
		all = append(all, dnsRecord{manyName(i), "0123456789ab", fmt.Sprintf("10.1.%d.%d", i>>8, i&255), 49153})
	}
	return all
}

func manyName(i int) string { return fmt.Sprintf("web%d.many.skydns.local.", i) }

// key is where the record stands below a prefix.
func (r dnsRecord) key(prefix string) string {
	labels := strings.Split(strings.TrimSuffix(r.service, "."), ".")
	slices.Reverse(labels)
	return "/" + prefix + "/" + strings.Join(labels, "/") + "/" + r.instance
}

func (r dnsRecord) value() string {
	return fmt.Sprintf(`{"host":%q,"port":%d,"ttl":%d}`, r.host, r.port, recordTTL)
}

// request does an HTTP request to etcd.
func (c *dnsContest) request(ctx context.Context, method, path, kind string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+dnsEtcd+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", kind)
	reply, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err == nil && reply.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, reply.Status, text)
	}
	return err
}

const formType, jsonType = "application/x-www-form-urlencoded", "application/json"

// put writes a record for those who read version 2 of etcd's keys.
func (c *dnsContest) put(ctx context.Context, prefix string, r dnsRecord) error {
	return c.request(ctx, http.MethodPut, "/v2/keys"+r.key(prefix), formType, []byte("value="+r.value()))
}

// put3 writes a record for those who read version 3.
func (c *dnsContest) put3(ctx context.Context, r dnsRecord) error {
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	body := fmt.Sprintf(`{"key":%q,"value":%q}`, encode(r.key("skydns")), encode(r.value()))
	return c.request(ctx, http.MethodPost, "/v3/kv/put", jsonType, []byte(body))
}

// putAll writes records, many at a time.
func (c *dnsContest) putAll(ctx context.Context, records []dnsRecord, put func(context.Context, dnsRecord) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for _, r := range records {
		group.Go(func() error { return put(ctx, r) })
	}
	return group.Wait()
}
