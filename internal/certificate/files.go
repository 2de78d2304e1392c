package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

// lookInterval is how often files are looked at, at most.
const lookInterval = time.Second

// Files are where a certificate is, with its key, which may be in the same file, and the authorities
// that are believed.
type Files struct{ Cert, Key, CA string }

// None tells that no file is named.
func (f Files) None() bool { return f == Files{} }

// Complete says what is missing.
func (f Files) Complete() error {
	if f.Cert == "" || f.Key == "" || f.CA == "" {
		return errors.New("a certificate, its key and the authorities to believe are needed together")
	}
	return nil
}

// Kept is what the files hold. When they change it does, for connections that are made from then on;
// those that are open go on: Version tells whoever serves them. Files that make no sense leave what there was last. It is safe for
// concurrent use.
type Kept struct {
	files Files
	log   *slog.Logger

	mu      sync.Mutex
	loaded  loaded
	version int
	stamps  [3]stamp
	looked  time.Time
}

type loaded struct {
	certificate []tls.Certificate // one, or none where none is shown
	believed    *x509.CertPool    // nil for those of the system
}

// stamp tells a file from what it was.
type stamp struct {
	modified time.Time
	size     int64
}

// Read reads the files. Of those that are not named nothing is shown or believed beyond what the system
// believes.
func Read(files Files, log *slog.Logger) (*Kept, error) {
	k := &Kept{files: files, log: log, looked: time.Now()}
	k.stamps, _ = k.stat() // what is wrong shows when they are read
	var err error
	k.loaded, err = files.load()
	return k, err
}

// Server is how to answer: to holders of certificates of the believed authorities only, and with
// HTTP/1.1, whose connections can be upgraded.
func (k *Kept) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			now := k.now()
			return &tls.Config{
				MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
				Certificates: now.certificate, ClientCAs: now.believed, ClientAuth: tls.RequireAndVerifyClientCert,
				// Somebody who was believed once has to be believed still.
				SessionTicketsDisabled: true,
			}, nil
		},
	}
}

// Client is how to ask, as of now: a connection that is made later wants another.
func (k *Kept) Client() *tls.Config {
	now := k.now()
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: now.certificate, RootCAs: now.believed}
}

// Version is another one after each change.
func (k *Kept) Version() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.look()
	return k.version
}

func (k *Kept) now() loaded {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.look()
}

// look is called with the mutex held.
func (k *Kept) look() loaded {
	if time.Since(k.looked) < lookInterval {
		return k.loaded
	}
	k.looked = time.Now()
	stamps, err := k.stat()
	if err != nil || stamps == k.stamps {
		return k.loaded // while they are replaced, files may be missing
	}
	next, err := k.files.load()
	if err != nil {
		k.log.Warn("certificate not read again", "err", err)
		return k.loaded
	}
	k.log.Info("certificate changed", "file", k.files.Cert, "authorities", k.files.CA)
	k.loaded, k.stamps = next, stamps
	k.version++
	return next
}

func (k *Kept) stat() (stamps [3]stamp, err error) {
	for i, file := range []string{k.files.Cert, k.files.Key, k.files.CA} {
		if file == "" {
			continue
		}
		info, err := os.Stat(file)
		if err != nil {
			return stamps, err
		}
		stamps[i] = stamp{info.ModTime(), info.Size()}
	}
	return stamps, nil
}

func (f Files) load() (l loaded, err error) {
	if f.Cert != "" || f.Key != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return l, fmt.Errorf("read certificate: %w", err)
		}
		l.certificate = []tls.Certificate{pair}
	}
	if f.CA != "" {
		text, err := os.ReadFile(f.CA)
		if err != nil {
			return l, fmt.Errorf("read authorities: %w", err)
		}
		if l.believed = x509.NewCertPool(); !l.believed.AppendCertsFromPEM(text) {
			return l, fmt.Errorf("read authorities: %s has no certificate", f.CA)
		}
	}
	return l, nil
}

// Dialer returns what connects by dial and then speaks TLS as config says for each connection anew. It
// is for http.Transport, which knows one config for all.
func Dialer(dial DialFunc, config func() *tls.Config) DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		raw, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		secure := config().Clone()
		if secure.ServerName == "" {
			secure.ServerName = host
		}
		conn := tls.Client(raw, secure)
		ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
		defer cancel()
		if err := conn.HandshakeContext(ctx); err != nil {
			raw.Close() // nothing was said
			return nil, fmt.Errorf("speak TLS with %s: %w", addr, err)
		}
		return conn, nil
	}
}

// DialFunc connects to an address.
type DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

const handshakeTimeout = 2 * time.Second

// Client is how to ask with a certificate that is in no file, believing the authorities.
func Client(own, believed []byte) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(own, own)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(believed) {
		return nil, errors.New("read authorities: there is no certificate")
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, RootCAs: pool}, nil
}
