package handover

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// checkPeer errs if the other end is not of our own user: only that one may share a port with us
// anyway. See SO_REUSEPORT in socket(7).
func checkPeer(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("read who the peer is: %w", err)
	}
	var peer *unix.Ucred
	var failure error
	err = raw.Control(func(fd uintptr) {
		peer, failure = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, failure); err != nil {
		return fmt.Errorf("read who the peer is: %w", err)
	}
	if own := os.Geteuid(); int(peer.Uid) != own {
		return fmt.Errorf("peer is of user %d, not of %d", peer.Uid, own)
	}
	return nil
}
