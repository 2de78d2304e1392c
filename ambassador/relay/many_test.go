package relay

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Whatever ends a connection, nothing is left of it. start looks for descriptors and goroutines.
func TestNothingIsLeftOfThousandsOfConnections(t *testing.T) {
	const callers, each = 20, 500
	eachForm(t, func(t *testing.T, form string) {
		s := start(t, form, serve(t, echo), 0)
		endings := []func(*net.TCPConn){
			func(conn *net.TCPConn) { reset(conn) },
			func(conn *net.TCPConn) {
				_ = conn.CloseWrite()
				_, _ = io.Copy(io.Discard, conn)
			},
			func(conn *net.TCPConn) { conn.Close() },
			func(conn *net.TCPConn) {
				_, _ = conn.Write(make([]byte, 200<<10))
				reset(conn)
			},
		}
		var group sync.WaitGroup
		for caller := range callers {
			group.Go(func() {
				for i := range each {
					conn, err := net.DialTCP("tcp", nil, s.addr)
					if err != nil {
						t.Error(err)
						return
					}
					if i%3 != 0 {
						_, _ = conn.Write([]byte("x"))
						if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
							t.Error(err)
						}
					}
					endings[(caller+i)%len(endings)](conn)
					conn.Close()
				}
			})
		}
		group.Wait()
		s.stop()
		s.wantEnded(s.ended.Load() + s.open.Load())
	})
}
