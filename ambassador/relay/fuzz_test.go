package relay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"
)

// script is what both sides of a connection do.
type script struct {
	client, backend []chunk
	byClient        bool // the side that ends the connection, when both have said all
	byReset         bool // how
}

type chunk struct {
	size  int
	pause bool // before it
}

// sizes are around those at which a relay does something else.
var sizes = []int{1, 100, bufferEdge - 1, bufferEdge, bufferEdge + 1, 4 * bufferEdge, 4*bufferEdge + 1, 300_000}

const bufferEdge = 16 << 10

// parseScript makes a script of any bytes: the first says how it ends, the others are chunks.
func parseScript(data []byte) (s script) {
	if len(data) == 0 {
		return s
	}
	s.byClient, s.byReset = data[0]&1 != 0, data[0]&2 != 0
	for _, b := range data[1:min(len(data), 30)] {
		c := chunk{sizes[b>>1&7], b>>4 == 15}
		if b&1 == 0 {
			s.client = append(s.client, c)
		} else {
			s.backend = append(s.backend, c)
		}
	}
	return s
}

// heard is what a side got.
type heard struct {
	bytes []byte
	end   string
}

// side plays one side of the script.
type side struct {
	says     []chunk
	seed     byte
	mine     bool // ends the connection
	byReset  bool
	heardAll chan struct{} // closed when the other side got all that this one says
	toHear   int
}

func (s *side) play(conn *net.TCPConn, otherHeard chan<- struct{}) (got heard) {
	var writing sync.WaitGroup
	writing.Go(func() {
		for _, c := range s.says {
			if c.pause {
				time.Sleep(time.Millisecond)
			}
			if _, err := conn.Write(content(c.size, s.seed)); err != nil {
				return // the other side will lack it
			}
		}
		if s.mine && !s.byReset {
			_ = conn.CloseWrite()
		}
	})
	got.bytes = make([]byte, s.toHear)
	n, err := io.ReadFull(conn, got.bytes)
	got.bytes = got.bytes[:n]
	close(otherHeard)
	writing.Wait()
	if err == nil && s.mine && s.byReset {
		<-s.heardAll
		reset(conn)
		got.end = "by itself"
		return got
	}
	if err == nil {
		var rest []byte
		rest, err = io.ReadAll(conn)
		got.bytes = append(got.bytes, rest...)
	}
	switch {
	case err == nil:
		got.end = "end"
	case errors.Is(err, syscall.ECONNRESET):
		got.end = "reset"
	default:
		got.end = err.Error()
	}
	conn.Close()
	return got
}

// content is that of a chunk.
func content(size int, seed byte) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = seed + byte(i) ^ byte(i>>8)
	}
	return b
}

func total(chunks []chunk) (n int) {
	for _, c := range chunks {
		n += c.size
	}
	return n
}

// perform plays the script over a connection, which via may have carried to the listener.
func perform(t *testing.T, s script, listener *net.TCPListener, via *net.TCPAddr) (client, backend heard) {
	t.Helper()
	fromClient, fromBackend := make(chan struct{}), make(chan struct{})
	caller := &side{s.client, 1, s.byClient, s.byReset, fromClient, total(s.backend)}
	called := &side{s.backend, 2, !s.byClient, s.byReset, fromBackend, total(s.client)}
	var group sync.WaitGroup
	group.Go(func() {
		conn, err := listener.AcceptTCP()
		if err == nil {
			err = conn.SetDeadline(time.Now().Add(2 * waitFor))
		}
		if err != nil {
			t.Error(err)
			return
		}
		backend = called.play(conn, fromClient)
	})
	client = caller.play(dialTo(t, via), fromBackend)
	group.Wait()
	return client, backend
}

// compare plays the script over a direct connection and over each form of the relay.
func compare(t *testing.T, data []byte) {
	t.Helper()
	s := parseScript(data)
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	addr := listener.Addr().(*net.TCPAddr)
	wantClient, wantBackend := perform(t, s, listener, addr)
	if len(wantClient.bytes) != total(s.backend) || len(wantBackend.bytes) != total(s.client) {
		t.Fatal("the script is wrong")
	}
	for form := range forms {
		for _, slow := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, slow %v", form, slow), func(t *testing.T) {
				station := start(t, form, netip.MustParseAddrPort(addr.String()), 0)
				station.slow.Store(slow)
				gotClient, gotBackend := perform(t, s, listener, station.addr)
				for _, side := range []struct {
					name      string
					got, want heard
				}{{"client", gotClient, wantClient}, {"backend", gotBackend, wantBackend}} {
					if side.got.end != side.want.end || !bytes.Equal(side.got.bytes, side.want.bytes) {
						t.Errorf("%s heard %d bytes and then %q, directly %d and %q; or other bytes", side.name,
							len(side.got.bytes), side.got.end, len(side.want.bytes), side.want.end)
					}
				}
				station.wantEnded(1)
			})
		}
	}
}

// A relay is like a direct connection, however the bytes come, and whoever ends it how.
func FuzzRelayIsLikeADirectConnection(f *testing.F) {
	f.Add([]byte{})
	for end := range byte(4) {
		f.Add([]byte{end})
		f.Add([]byte{end, 0, 1, 2, 3, 0xf4, 0xf5})
		random := rand.New(rand.NewPCG(1, uint64(end)))
		for range 8 {
			data := []byte{end}
			for range random.IntN(20) {
				data = append(data, byte(random.Uint32()))
			}
			f.Add(data)
		}
	}
	f.Fuzz(compare)
}
