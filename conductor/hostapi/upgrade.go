package hostapi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/internal/stream"
)

// upgrades tells whether the client wants a stream. One that does not is told what to do.
func upgrades(w http.ResponseWriter, r *http.Request) bool {
	if strings.EqualFold(r.Header.Get("Upgrade"), stream.Protocol) {
		return true
	}
	w.Header().Set("Upgrade", stream.Protocol)
	http.Error(w, "this takes a connection upgraded to "+stream.Protocol+": dokkaacfg makes one", http.StatusUpgradeRequired)
	return false
}

// upgrade makes a stream of the request's connection. Without one the client has its answer.
func upgrade(w http.ResponseWriter) (*stream.Conn, error) {
	control := http.NewResponseController(w)
	conn, buffered, err := control.Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return nil, err
	}
	err = errors.Join(conn.SetDeadline(time.Time{}), answerUpgrade(buffered.Writer))
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("upgrade connection: %w", err)
	}
	return stream.New(hijacked{conn, buffered.Reader}), nil
}

func answerUpgrade(w *bufio.Writer) error {
	_, err := io.WriteString(w, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+stream.Protocol+"\r\n\r\n")
	return errors.Join(err, w.Flush())
}

// hijacked is a connection some of which was read already.
type hijacked struct {
	net.Conn
	in *bufio.Reader
}

func (h hijacked) Read(p []byte) (int, error) { return h.in.Read(p) }
