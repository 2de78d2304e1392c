package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
)

// Dial connects from the host: to an address that it reaches, or to a Unix socket of its own. The
// connections have no deadlines.
func (h *Host) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	client, err := h.connected(ctx)
	if err != nil {
		return nil, err
	}
	if network == "unix" && !h.isRoot() {
		return h.dialAsRoot(client, addr)
	}
	conn, err := client.DialContext(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("connect from host %s to %s: %w", h.Name(), addr, err)
	}
	return conn, nil
}

// dialAsRoot connects to the socket of the host's Docker Engine, which is root's: the SSH server
// itself would do so as the user who logged in.
func (h *Host) dialAsRoot(client *ssh.Client, socket string) (net.Conn, error) {
	session, err := client.NewSession()
	if err != nil {
		return nil, fmt.Errorf("connect from host %s to %s: %w", h.Name(), socket, err)
	}
	conn := &sessionConn{session: session, addr: socket}
	if conn.in, err = session.StdinPipe(); err == nil {
		conn.out, err = session.StdoutPipe()
	}
	if err == nil {
		err = session.Start(h.asRoot("exec docker -H unix://" + quote(socket) + " system dial-stdio"))
	}
	if err != nil {
		session.Close()
		return nil, fmt.Errorf("connect from host %s to %s: %w", h.Name(), socket, err)
	}
	return conn, nil
}

// sessionConn is a connection through the input and output of a command.
type sessionConn struct {
	session *ssh.Session
	in      io.WriteCloser
	out     io.Reader
	addr    string
}

var errNoDeadline = errors.New("a connection through SSH has no deadlines")

func (c *sessionConn) Read(data []byte) (int, error)  { return c.out.Read(data) }
func (c *sessionConn) Write(data []byte) (int, error) { return c.in.Write(data) }
func (c *sessionConn) CloseWrite() error              { return c.in.Close() }

func (c *sessionConn) Close() error {
	if err := c.session.Close(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func (c *sessionConn) LocalAddr() net.Addr              { return &net.UnixAddr{Net: "unix"} }
func (c *sessionConn) RemoteAddr() net.Addr             { return &net.UnixAddr{Net: "unix", Name: c.addr} }
func (c *sessionConn) SetDeadline(time.Time) error      { return errNoDeadline }
func (c *sessionConn) SetReadDeadline(time.Time) error  { return errNoDeadline }
func (c *sessionConn) SetWriteDeadline(time.Time) error { return errNoDeadline }
