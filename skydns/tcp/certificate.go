package tcp

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookInterval is how often the files of a certificate are looked at.
const lookInterval = time.Second

// Certificate is what the server shows to clients over TLS (RFC 7858). When its files change, so
// does what the next clients are shown; files that make no sense leave the last good ones.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex
	loaded *tls.Certificate
	stamp  [2]stamp
	looked time.Time
}

// stamp tells a file from what it was.
type stamp struct {
	modified time.Time
	size     int64
}

// LoadCertificate reads the files.
func LoadCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log, looked: time.Now()}
	c.stamp, _ = c.stat() // what is wrong shows when they are read
	loaded, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	c.loaded = &loaded
	return c, nil
}

// Config is how to speak TLS with the certificate.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"dot"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current(time.Now()), nil },
	}
}

func (c *Certificate) current(now time.Time) *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.looked) < lookInterval {
		return c.loaded
	}
	c.looked = now
	stamp, err := c.stat()
	if err != nil || stamp == c.stamp {
		return c.loaded // while they are replaced, files may be missing
	}
	loaded, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		c.log.Warn("certificate not read again", "err", err)
		return c.loaded
	}
	c.log.Info("certificate changed", "file", c.certFile)
	c.loaded, c.stamp = &loaded, stamp
	return c.loaded
}

func (c *Certificate) stat() (stamps [2]stamp, err error) {
	for i, file := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(file)
		if err != nil {
			return stamps, err
		}
		stamps[i] = stamp{info.ModTime(), info.Size()}
	}
	return stamps, nil
}
