package conductor

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// gate is a way to an etcd member that can be shut.
type gate struct {
	listener net.Listener
	member   string // host:port
	done     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool
}

// newGate opens a gate to the member's URL, until the test ends.
func newGate(t *testing.T, member string) *gate {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{listener: listener, member: strings.TrimPrefix(member, "http://"), conns: map[net.Conn]bool{}}
	g.done.Go(g.serve)
	t.Cleanup(func() {
		listener.Close()
		g.shut(true)
		g.done.Wait()
	})
	return g
}

func (g *gate) addr() string { return g.listener.Addr().String() }

// shut breaks all connections and lets none through, or lets new ones through again.
func (g *gate) shut(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = shut
	for conn := range g.conns {
		if shut {
			conn.Close()
		}
	}
}

func (g *gate) serve() {
	for {
		conn, err := g.listener.Accept()
		if err != nil {
			return
		}
		g.done.Go(func() { g.pass(conn) })
	}
}

func (g *gate) pass(client net.Conn) {
	defer client.Close()
	member, err := net.Dial("tcp", g.member)
	if err != nil {
		return
	}
	defer member.Close()
	if !g.enter(client, member) {
		return
	}
	defer g.leave(client, member)
	var back sync.WaitGroup
	back.Go(func() {
		defer client.Close()
		_, _ = io.Copy(client, member) // however it ends, the connection has
	})
	_, _ = io.Copy(member, client) // likewise
	member.Close()
	back.Wait()
}

func (g *gate) enter(conns ...net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	for _, conn := range conns {
		g.conns[conn] = true
	}
	return true
}

func (g *gate) leave(conns ...net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, conn := range conns {
		delete(g.conns, conn)
	}
}
