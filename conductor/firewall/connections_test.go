//go:build linux

package firewall

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
)

// The addresses of a host with a container in it. It publishes the container's port 80.
const (
	hostAddr      = "10.0.0.9"
	containerAddr = "172.30.0.5"
	published     = 32768
)

// service is a container that answers each connection as the test says, in a network of its own
// behind that of a host.
type service struct {
	*testing.T
	host     *namespace
	accepted chan net.Conn
}

func newService(t *testing.T) *service {
	s := &service{T: t, host: newNamespace(t), accepted: make(chan net.Conn, 8)}
	container := newNamespace(t)
	s.host.ip("link add eth0 type veth peer name inner")
	s.host.ip("link set inner netns /proc/self/fd/3", container.file)
	s.host.ip("link set lo up")
	s.host.ip("addr add " + hostAddr + "/32 dev lo")
	s.host.ip("addr add 172.30.0.1/16 dev eth0")
	s.host.ip("link set eth0 up")
	container.ip("addr add " + containerAddr + "/16 dev inner")
	container.ip("link set inner up")
	container.ip("route add default via 172.30.0.1")
	// As Docker publishes a port: for those who come from outside, and for the host itself.
	s.host.nft(fmt.Sprintf(`add table ip docker { chain out { type nat hook output priority -100;
		ip daddr %s tcp dport %d dnat to %s:80; }; }`, hostAddr, published, containerAddr))
	for _, port := range []string{"80", "81"} {
		var listener net.Listener
		container.mustIn(func() (err error) {
			listener, err = net.Listen("tcp4", containerAddr+":"+port)
			return err
		})
		t.Cleanup(func() { listener.Close() })
		go func() {
			for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
				s.accepted <- conn
			}
		}()
	}
	return s
}

// connect is a client's connection to an address as the host sees it, and the service's end of it.
func (s *service) connect(addr string) (client, server *net.TCPConn) {
	s.Helper()
	var conn net.Conn
	s.host.mustIn(func() (err error) {
		conn, err = net.DialTimeout("tcp4", addr, 5*time.Second)
		return err
	})
	s.Cleanup(func() { conn.Close() })
	select {
	case accepted := <-s.accepted:
		s.Cleanup(func() { accepted.Close() })
		return conn.(*net.TCPConn), accepted.(*net.TCPConn)
	case <-time.After(5 * time.Second):
		s.Fatal("nobody accepted the connection")
		return nil, nil
	}
}

// open is how many connections to the ports the firewall counts.
func (s *service) open(ports ...uint16) (n int, err error) {
	err = s.host.in(func() (err error) {
		n, err = Connections(netip.MustParseAddr(containerAddr), ports)
		return err
	})
	return n, err
}

// waitOpen waits until so many connections to port 80 are open.
func (s *service) waitOpen(want int) {
	s.Helper()
	etcdtest.WaitFor(s.T, 5*time.Second, func() error {
		got, err := s.open(80)
		if err == nil && got != want {
			err = fmt.Errorf("%d connections are open, want %d", got, want)
		}
		return err
	})
}

// stayOpen checks that so many connections to port 80 are open for a while.
func (s *service) stayOpen(want int) {
	s.Helper()
	s.waitOpen(want)
	for range 10 {
		time.Sleep(30 * time.Millisecond)
		if got, err := s.open(80); got != want || err != nil {
			s.Fatalf("%d connections are open, want %d: %v", got, want, err)
		}
	}
}

func TestConnectionsThroughThePublishedPort(t *testing.T) {
	s := newService(t)
	s.waitOpen(0)
	client, server := s.connect(fmt.Sprintf("%s:%d", hostAddr, published))
	s.stayOpen(1)
	direct, directServer := s.connect(containerAddr + ":80") // as Docker's proxy does
	s.stayOpen(2)
	s.connect(containerAddr + ":81")
	s.stayOpen(2)
	if n, err := s.open(80, 81); n != 3 || err != nil {
		t.Errorf("%d connections are open to both ports: %v", n, err)
	}
	if n, err := s.open(82); n != 0 || err != nil {
		t.Errorf("%d connections are open to a port that has none: %v", n, err)
	}
	direct.Close()
	s.stayOpen(2) // its client may still wait for an answer
	directServer.Close()
	s.waitOpen(1)
	server.Close()
	client.Close()
	s.waitOpen(0)
}

// TestLongAnswerKeepsTheConnectionOpen is of a request whose client has said everything, and waits.
func TestLongAnswerKeepsTheConnectionOpen(t *testing.T) {
	s := newService(t)
	client, server := s.connect(fmt.Sprintf("%s:%d", hostAddr, published))
	if _, err := io.WriteString(client, "a long story, please"); err != nil {
		t.Fatal(err)
	}
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	s.stayOpen(1)
	if _, err := io.WriteString(server, "once upon a time"); err != nil {
		t.Fatal(err)
	}
	s.stayOpen(1)
	server.Close()
	s.waitOpen(0)
	if got, err := io.ReadAll(client); string(got) != "once upon a time" {
		t.Errorf("the client read %q: %v", got, err)
	}
}

func TestConnectionThatTheServerEndedIsNotOpen(t *testing.T) {
	s := newService(t)
	client, server := s.connect(fmt.Sprintf("%s:%d", hostAddr, published))
	s.waitOpen(1)
	if err := server.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	s.waitOpen(0)
	if _, err := client.Write([]byte("too late")); err != nil {
		t.Fatal(err)
	}
	s.stayOpen(0)
	_, reset := s.connect(containerAddr + ":80")
	s.waitOpen(1)
	if err := reset.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	reset.Close()
	s.waitOpen(0)
}

// TestTheKernelTellsOnlyWhatWasAskedFor is of hosts with many connections.
func TestTheKernelTellsOnlyWhatWasAskedFor(t *testing.T) {
	s := newService(t)
	for range 3 {
		s.connect(containerAddr + ":80")
	}
	told := func(addr string) (n int) {
		s.host.mustIn(func() error {
			conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
			if err != nil {
				return err
			}
			defer conn.Close()
			request, err := flowsFrom(netip.MustParseAddr(addr))
			if err != nil {
				return err
			}
			messages, err := conn.Execute(request)
			n = len(messages)
			return err
		})
		return n
	}
	if of, ofNobody := told(containerAddr), told("172.30.0.6"); of != 3 || ofNobody != 0 {
		t.Errorf("the kernel told of %d connections, and of %d of an address that has none", of, ofNobody)
	}
}

func TestConnectionsNeedTheCapability(t *testing.T) {
	s := newService(t)
	err := s.host.in(func() error {
		if err := dropNetAdmin(); err != nil {
			return err
		}
		_, err := Connections(netip.MustParseAddr(containerAddr), []uint16{80})
		return err
	})
	if !errors.Is(err, unix.EPERM) {
		t.Errorf("without CAP_NET_ADMIN: %v", err)
	}
}

// dropNetAdmin takes the capability from the thread, which ends with its goroutine.
func dropNetAdmin() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return err
	}
	data[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	return unix.Capset(&head, &data[0])
}
