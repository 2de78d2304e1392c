//go:build faults

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestUpgrade brings a cluster other images and the first ones again, while containers use a service,
// names are asked for at the containers' nameserver, and keys are read and written at each gateway.
// Nothing of that fails, no container is started again, and no host is lost.
func TestUpgrade(t *testing.T) {
	c := newCluster(t, "e2eupgr", "10.132.0.0/24", 3)
	c.up()
	c.web(3, "")
	c.healthy(10*time.Second, "web", 3)
	c.loader()
	first := c.imagesOf("first", false)
	second := c.imagesOf("second", true)

	c.dokkaacfg("upgrade", "--images="+first)
	for _, images := range []string{second, first} {
		step(t, c, "to "+filepath.Base(images), func(c *cluster) { c.upgradesUnnoticed(images) })
	}
	step(t, c, "to an image that does not work", (*cluster).doesNotUpgrade)
}

// upgradesUnnoticed holds that nobody who uses the cluster notices an upgrade.
func (c *cluster) upgradesUnnoticed(images string) {
	c.t.Helper()
	before, daemons := c.instances("web"), c.daemonIDs()
	var users sync.WaitGroup
	ctx, stop := context.WithCancel(c.t.Context())
	defer users.Wait()
	defer stop()
	var all []*user
	for host := 1; host <= c.scale; host++ {
		all = append(all, c.asksNames(ctx, &users, host, "udp"), c.asksNames(ctx, &users, host, "tcp"),
			c.usesKeys(ctx, &users, host, false), c.usesKeys(ctx, &users, host, true))
	}
	c.loaded(func() { c.dokkaacfg("upgrade", "--images="+images) })
	stop()
	users.Wait()
	for _, u := range all {
		c.t.Logf("%s: %d times", u.what, u.done.Load())
		if u.done.Load() < 100 {
			c.t.Errorf("%s: only %d times", u.what, u.done.Load())
		}
	}
	if now := c.instances("web"); fmt.Sprint(now) != fmt.Sprint(before) {
		c.t.Errorf("instances were %v, are %v", before, now)
	}
	for name, id := range c.daemonIDs() {
		if id == daemons[name] {
			c.t.Errorf("%s is the one from before", name)
		}
		if strings.Contains(name, "-before-") || strings.Contains(name, "-draining-") {
			c.t.Errorf("%s is left", name)
		}
	}
}

// doesNotUpgrade holds that a host has what it had after an upgrade to an image that does not work.
func (c *cluster) doesNotUpgrade() {
	before := c.daemonIDs()
	broken := c.imagesOf("broken", false)
	c.run("go", "run", "-C", root, "./images", "--release=broken", "--bin="+c.binaries("skydns"), "--out="+broken, "skydns")
	out, err := c.try(filepath.Join(root, "build/bin/dokkaacfg"), "--cluster="+c.name, "--subnet="+c.subnet, "upgrade", "--images="+broken)
	if err == nil || !strings.Contains(err.Error(), "The skydns from before goes on there") || !strings.Contains(err.Error(), "Hosts that are up to date: none") {
		c.t.Errorf("%s\n%v", out, err)
	}
	now := c.daemonIDs()
	for name, id := range before {
		if strings.HasSuffix(name, " gateway") && name[0] == '1' {
			continue // it came before
		}
		if now[name] != id {
			c.t.Errorf("%s is another one", name)
		}
	}
	c.loaded(func() {})
}

// user does something again and again.
type user struct {
	what string
	done atomic.Int64
}

func (c *cluster) use(ctx context.Context, group *sync.WaitGroup, what string, do func() error) *user {
	u := &user{what: what}
	group.Go(func() {
		for ctx.Err() == nil {
			if err := do(); err != nil {
				c.t.Errorf("%s: %v", u.what, err)
			}
			u.done.Add(1)
			time.Sleep(20 * time.Millisecond)
		}
	})
	return u
}

// asksNames asks a host's nameserver where its containers do. Nobody asks twice for us.
func (c *cluster) asksNames(ctx context.Context, group *sync.WaitGroup, host int, network string) *user {
	client := dns.Client{Net: network, Timeout: 4 * time.Second}
	return c.use(ctx, group, fmt.Sprintf("ask the nameserver of host %d by %s", host, network), func() error {
		limited, cancel := context.WithTimeout(context.Background(), 4*time.Second)
		defer cancel()
		conn, err := c.hosts.Host(host).Dial(limited, network, "172.30.0.1:53")
		if err != nil {
			return err
		}
		defer conn.Close()
		query := new(dns.Msg).SetQuestion("web.dummy.skydns.local.", dns.TypeSRV)
		reply, _, err := client.ExchangeWithConn(query, &dns.Conn{Conn: conn})
		if err == nil && len(reply.Answer) == 0 {
			err = fmt.Errorf("no answer: %s", reply)
		}
		return err
	})
}

// usesKeys writes a key at a host's gateway and reads it.
func (c *cluster) usesKeys(ctx context.Context, group *sync.WaitGroup, host int, keepAlive bool) *user {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: !keepAlive}, Timeout: 15 * time.Second}
	key := c.key(host, fmt.Sprintf("/test/%d-%v", host, keepAlive))
	n := 0
	return c.use(ctx, group, fmt.Sprintf("write and read at the gateway of host %d, connected for long: %v", host, keepAlive), func() error {
		n++
		value := fmt.Sprintf("value-%d", n)
		for _, method := range []string{http.MethodPut, http.MethodGet} {
			// No GetBody: the client must not send it twice.
			req, err := http.NewRequest(method, key, io.NopCloser(strings.NewReader("value="+value)))
			if err != nil {
				return err
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if method == http.MethodGet {
				req.Body = nil
			}
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode/100 != 2 || !strings.Contains(string(body), `"`+value+`"`) {
				return fmt.Errorf("%s: %s %s %w", method, resp.Status, body, err)
			}
		}
		return nil
	})
}

// daemonIDs are the containers of our daemons, by host and name.
func (c *cluster) daemonIDs() map[string]string {
	c.t.Helper()
	all := map[string]string{}
	for host := 1; host <= c.scale; host++ {
		for line := range strings.Lines(c.mustDocker(host, "ps", "-a", "--filter=label=dokkaa.daemon", "--format={{.Names}} {{.ID}}")) {
			name, id, _ := strings.Cut(strings.TrimSpace(line), " ")
			all[fmt.Sprintf("%d %s", host, name)] = id
		}
	}
	return all
}

// imagesOf is a directory of images of another release, which are built of the same binaries, but for
// etcd's if that shall be another one.
func (c *cluster) imagesOf(release string, otherEtcd bool) string {
	c.t.Helper()
	dir := filepath.Join(c.t.TempDir(), release)
	bin := filepath.Join(root, "build/bin")
	if otherEtcd {
		bin = c.binaries()
		file, err := os.OpenFile(filepath.Join(bin, "etcd"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			c.t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.WriteString("\n"); err != nil { // behind what is run
			c.t.Fatal(err)
		}
	}
	c.run("go", "run", "-C", root, "./images", "--release="+release, "--bin="+bin, "--out="+dir, "ambassador", "conductor", "etcd", "gateway", "skydns")
	return dir
}

// binaries is a directory of our binaries, of which some are no daemons.
func (c *cluster) binaries(broken ...string) string {
	c.t.Helper()
	dir := c.t.TempDir()
	for _, name := range []string{"ambassador", "conductor", "etcd", "gateway", "skydns"} {
		from := name
		if slices.Contains(broken, name) {
			from = "dokkaacfg" // which shows its help and ends
		}
		data, err := os.ReadFile(filepath.Join(root, "build/bin", from))
		if err != nil {
			c.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o755); err != nil {
			c.t.Fatal(err)
		}
	}
	return dir
}
