package names

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
)

// nameserver is the cluster's own, as a process of its own.
type nameserver struct {
	t      *testing.T
	binary string
	etcd   string
	addr   string
	cmd    *exec.Cmd
}

func startNameserver(t *testing.T) *nameserver {
	t.Helper()
	n := &nameserver{t: t, binary: filepath.Join(t.TempDir(), "skydns"), etcd: etcdtest.Start(t, 1).Endpoints()[0]}
	if out, err := exec.Command("go", "build", "-o", n.binary, "github.com/dokkaa/dokkaa/cmd/skydns").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.addr = packets.LocalAddr().String()
	packets.Close()
	n.start()
	t.Cleanup(n.kill)
	return n
}

func (n *nameserver) start() {
	n.t.Helper()
	n.cmd = exec.Command(n.binary, "--machines="+n.etcd, "--addr="+n.addr, "--nameservers=127.0.0.1:9", "--http-addr=127.0.0.1:0")
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
}

func (n *nameserver) kill() {
	_ = n.cmd.Process.Kill() // it may have ended
	_ = n.cmd.Wait()         // and says that it was killed
}

func (n *nameserver) signal(s syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Fatal(err)
	}
}

// record writes or removes what the conductor announces of an instance.
func (n *nameserver) record(method string, instance int) {
	n.t.Helper()
	value := url.Values{"value": {fmt.Sprintf(`{"host":"10.0.%d.%d","port":80,"priority":10,"weight":100,"ttl":5}`, instance/200, instance%200+1)}}
	request, err := http.NewRequest(method, fmt.Sprintf("%s/v2/keys/skydns/local/skydns/shop/web/i%d", n.etcd, instance), strings.NewReader(value.Encode()))
	if err != nil {
		n.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		n.t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		n.t.Fatalf("%s: %s", request.URL, response.Status)
	}
}

// TestWithTheClustersNameserver has services grow past what fits into a packet, and shrink, while the nameserver
// dies, hangs and comes back. A name in use is fresh all the time.
func TestWithTheClustersNameserver(t *testing.T) {
	n := startNameserver(t)
	r := New(Settings{Server: func() (string, error) { return n.addr, nil }, MaxStale: time.Hour, Failed: func() {},
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	var group sync.WaitGroup
	t.Cleanup(group.Wait)
	group.Go(func() { r.Run(t.Context()) })
	n.record(http.MethodPut, 0)
	within := func(patience time.Duration, want int) {
		t.Helper()
		etcdtest.WaitFor(t, patience, func() error {
			pool, ok := r.Fresh(web)
			if !ok || pool.Len() != want {
				return fmt.Errorf("%v, %v; want %d endpoints", pool, ok, want)
			}
			return nil
		})
	}
	etcdtest.WaitFor(t, 10*time.Second, func() error {
		pool, err := r.Refresh(t.Context(), web)
		if err == nil && pool.Len() != 1 {
			err = fmt.Errorf("%d endpoints", pool.Len())
		}
		return err
	})
	group.Go(func() { // all the time from here on
		for t.Context().Err() == nil {
			if _, ok := r.Fresh(web); !ok {
				t.Error("it is not fresh")
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
	for i := range 150 {
		n.record(http.MethodPut, i)
	}
	within(2*time.Second, 150)
	n.record(http.MethodDelete, 7)
	within(2*time.Second, 149)

	n.kill()
	time.Sleep(2 * time.Second)
	within(0, 149)
	n.start()
	n.record(http.MethodDelete, 8)
	within(10*time.Second, 148)

	n.signal(syscall.SIGSTOP)
	n.record(http.MethodDelete, 9)
	time.Sleep(2 * time.Second)
	within(0, 148)
	n.signal(syscall.SIGCONT)
	within(2*time.Second, 147)
}
