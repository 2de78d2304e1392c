//go:build linux

// Package identity tests on a real Docker Engine that the ambassador knows whose each connection is.
package identity

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"
	"github.com/miekg/dns"

	"github.com/dokkaa/dokkaa/internal/docker"
	"github.com/dokkaa/dokkaa/internal/vhost"
	"github.com/dokkaa/dokkaa/internal/vhosttest"
)

const (
	image      = "test/caller"
	network    = "dokkaa"
	gateway4   = "172.30.0.1"
	gateway6   = "fd00:30::1"
	domain     = ".churn.skydns.local."
	backendsAt = 9000 // all backends' port
	operations = "127.0.0.1:4003"
	waitFor    = 20 * time.Second
)

// world is a host with an Engine, an ambassador, a name server, and a backend for each name.
type world struct {
	t      *testing.T
	host   *vhost.Host
	client *dockerclient.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a virtual host needs root")
	}
	vhosttest.Claim(t, "identity")
	cluster, err := vhost.New(vhost.Options{Name: "identity", Subnet: netip.MustParsePrefix("10.122.0.0/24"),
		Dir: filepath.Join(t.TempDir(), "identity"), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	down := func() {
		if err := cluster.Down(context.Background()); err != nil { // the test's own has ended
			t.Errorf("take the host down: %v", err)
		}
	}
	down() // after an earlier run that was killed
	t.Cleanup(down)
	if err := cluster.Up(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, host: cluster.Host(1)}
	engine, err := docker.New(w.host.DockerHost(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if w.client, err = engine.Client(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Its first start of a container asks for the Engine's version, and keeps it without a lock.
	if err := w.client.StartContainerWithContext("nobody", nil, t.Context()); err == nil {
		t.Fatal("started what is not there")
	}
	bin := t.TempDir()
	w.build(filepath.Join(bin, "caller"), "./test/identity/caller")
	w.build(filepath.Join(bin, "ambassador"), "./cmd/ambassador")
	w.importCaller(filepath.Join(bin, "caller"))
	w.makeNetworks()
	w.startBackends()
	w.startAmbassador(filepath.Join(bin, "ambassador"), w.startDNS(cluster.MachineIP()))
	return w
}

func (w *world) build(file, pkg string) {
	w.t.Helper()
	command := w.host.Command(w.t.Context(), "env", "CGO_ENABLED=0", "go", "build", "-C", "../..", "-o", file, pkg)
	if out, err := command.CombinedOutput(); err != nil {
		w.t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
}

// importCaller makes an image of the program alone.
func (w *world) importCaller(file string) {
	w.t.Helper()
	program, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	var layer bytes.Buffer
	archive := tar.NewWriter(&layer)
	if err := archive.WriteHeader(&tar.Header{Name: "caller", Mode: 0o755, Size: int64(len(program))}); err != nil {
		w.t.Fatal(err)
	}
	if _, err := archive.Write(program); err != nil {
		w.t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		w.t.Fatal(err)
	}
	if err := w.client.ImportImage(dockerclient.ImportImageOptions{Repository: image, Source: "-", InputStream: &layer,
		OutputStream: io.Discard, Context: w.t.Context()}); err != nil {
		w.t.Fatal(err)
	}
}

// makeNetworks makes the network dokkaa, so small that its addresses are soon used again, and one
// that a user might have made.
func (w *world) makeNetworks() {
	w.t.Helper()
	for _, options := range []dockerclient.CreateNetworkOptions{
		{Name: network, EnableIPv6: true, Options: map[string]any{"com.docker.network.bridge.name": network, "com.docker.network.bridge.enable_icc": "false"},
			IPAM: &dockerclient.IPAMOptions{Config: []dockerclient.IPAMConfig{{Subnet: "172.30.0.0/26", Gateway: gateway4}, {Subnet: "fd00:30::/64", Gateway: gateway6}}}},
		{Name: "mine", IPAM: &dockerclient.IPAMOptions{Config: []dockerclient.IPAMConfig{{Subnet: "172.31.0.0/27"}}}},
	} {
		options.Driver, options.Context = "bridge", w.t.Context()
		if _, err := w.client.CreateNetwork(options); err != nil {
			w.t.Fatal(err)
		}
	}
}

// backendOf is the address of the backend of a name: each has one of its own.
func backendOf(name string) (netip.Addr, bool) {
	n, err := strconv.Atoi(strings.TrimPrefix(name, "s"))
	return netip.AddrFrom4([4]byte{127, 1, byte(n / 250), byte(n%250 + 1)}), err == nil && n < 250*250
}

// startBackends has one listener be all backends: it says the name that its own address is of.
func (w *world) startBackends() {
	w.t.Helper()
	listener, err := w.host.Listen(w.t.Context(), "tcp", fmt.Sprintf("0.0.0.0:%d", backendsAt))
	if err != nil {
		w.t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			addr := conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().As4()
			fmt.Fprintf(conn, "s%d", int(addr[2])*250+int(addr[3])-1) // who left is not answered
			conn.Close()
		}
	})
	w.t.Cleanup(func() {
		listener.Close()
		group.Wait()
	})
}

// startDNS answers for all names there may be, and returns where.
func (w *world) startDNS(on netip.Addr) (addr string) {
	w.t.Helper()
	packets, err := net.ListenPacket("udp", netip.AddrPortFrom(on, 0).String())
	if err != nil {
		w.t.Fatal(err)
	}
	started := make(chan struct{})
	server := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(answer), NotifyStartedFunc: func() { close(started) }}
	var group sync.WaitGroup
	group.Go(func() { _ = server.ActivateAndServe() }) // until it is shut down
	<-started
	w.t.Cleanup(func() {
		_ = server.Shutdown() // it ends with us at the latest
		group.Wait()
	})
	return packets.LocalAddr().String()
}

func answer(rw dns.ResponseWriter, q *dns.Msg) {
	reply := new(dns.Msg).SetReply(q)
	name := q.Question[0].Name
	addr, ok := backendOf(strings.TrimSuffix(name, domain))
	if !ok {
		reply.Rcode = dns.RcodeNameError
	} else if q.Question[0].Qtype == dns.TypeSRV {
		header := func(name string, kind uint16) dns.RR_Header {
			return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: 60}
		}
		reply.Answer = []dns.RR{&dns.SRV{Hdr: header(name, dns.TypeSRV), Priority: 10, Weight: 100, Port: backendsAt, Target: "one." + name}}
		reply.Extra = []dns.RR{&dns.A{Hdr: header("one."+name, dns.TypeA), A: addr.AsSlice()}}
	}
	_ = rw.WriteMsg(reply) // who does not hear it asks again
}

// startAmbassador runs the daemon in the host's network.
func (w *world) startAmbassador(program, dnsAddr string) {
	w.t.Helper()
	command := w.host.Command(context.Background(), program) // killed below
	command.Env = append(os.Environ(), "DOCKER_HOST="+w.host.DockerHost(), "DNS_ADDR="+dnsAddr, "HTTP_ADDR="+operations, "HANDOVER=dokkaa-test-identity")
	log, err := os.Create(filepath.Join(w.t.TempDir(), "ambassador.log"))
	if err != nil {
		w.t.Fatal(err)
	}
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = command.Process.Kill() // it may have ended
		_ = command.Wait()         // as it was killed
		if text, err := os.ReadFile(log.Name()); w.t.Failed() && err == nil {
			w.t.Logf("the ambassador's log ends:\n%s", text[max(0, len(text)-100_000):])
		}
		log.Close()
	})
	w.eventually(func() error {
		_, err := w.get("/readyz")
		return err
	})
}

// get asks the ambassador's operations endpoint.
func (w *world) get(path string) (string, error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return w.host.Dial(ctx, network, addr)
	}}
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + operations + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return string(text), err
}

// metrics are the ambassador's.
func (w *world) metrics() string {
	w.t.Helper()
	text, err := w.get("/metrics")
	if err != nil {
		w.t.Error(err)
	}
	return text
}

// metric is one of them, "" if there is none.
func (w *world) metric(name string) string {
	w.t.Helper()
	for line := range strings.Lines(w.metrics()) {
		if value, ok := strings.CutPrefix(line, "dokkaa_ambassador_"+name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (w *world) eventually(check func() error) {
	w.t.Helper()
	deadline := time.Now().Add(waitFor)
	for err := check(); err != nil; err = check() {
		if time.Now().After(deadline) {
			w.t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// caller is a container that calls.
type caller struct {
	number      int    // its backend's too
	network     string // that it is on
	ambassador  string // the address that it calls
	port        int
	connections int
	victim      string // whose address it tries to call from, instead of all else
}

// create makes its container. One that is there already, for an answer that was lost, is made anew.
func (w *world) create(ctx context.Context, c caller) (id string, err error) {
	links, err := json.Marshal(map[string]string{strconv.Itoa(c.port): strings.TrimSuffix("s"+strconv.Itoa(c.number)+domain, ".")})
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("churn---caller---%d", c.number)
	command := []string{net.JoinHostPort(c.ambassador, strconv.Itoa(c.port)), "s" + strconv.Itoa(c.number), strconv.Itoa(c.connections)}
	if c.victim != "" {
		command = []string{command[0], "spoof", c.victim}
	}
	options := dockerclient.CreateContainerOptions{Name: name, Context: ctx,
		Config: &dockerclient.Config{Image: image, Entrypoint: []string{"/caller"},
			Cmd: command,
			// The image's author may write what he likes; only the label counts.
			Env:    []string{fmt.Sprintf("BACKENDS_%d=s0.churn.skydns.local", c.port)},
			Labels: map[string]string{"dokkaa.cluster": "churn", "dokkaa.backends": string(links)}},
		HostConfig: &dockerclient.HostConfig{NetworkMode: c.network, Init: true, CapDrop: []string{"NET_RAW"}}}
	made, err := w.client.CreateContainer(options)
	if err != nil {
		return "", fmt.Errorf("create %s: %w", name, err)
	}
	return made.ID, nil
}

// start creates and starts its container.
func (w *world) start(ctx context.Context, c caller) (id string, err error) {
	if id, err = w.create(ctx, c); err != nil {
		return "", err
	}
	if err := w.client.StartContainerWithContext(id, nil, ctx); err != nil {
		return "", fmt.Errorf("start %s: %w", id, err)
	}
	return id, nil
}

// wait waits until the container ends, and returns its exit code.
func (w *world) wait(ctx context.Context, id string) (int, error) {
	return w.client.WaitContainerWithContext(id, ctx)
}

// logs are what the container wrote.
func (w *world) logs(ctx context.Context, id string) string {
	var text bytes.Buffer
	err := w.client.Logs(dockerclient.LogsOptions{Container: id, OutputStream: &text, ErrorStream: &text, Stdout: true, Stderr: true, Context: ctx})
	if err != nil {
		return err.Error()
	}
	return text.String()
}

func (w *world) remove(ctx context.Context, id string) error {
	return w.client.RemoveContainer(dockerclient.RemoveContainerOptions{ID: id, Force: true, RemoveVolumes: true, Context: ctx})
}
