package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// checkHealth asks the server at url whether it is healthy: it has a leader and takes writes. Where that
// takes a certificate, the server's own is shown to it.
func checkHealth(ctx context.Context, url string, getenv func(string) string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	secure, err := ownCertificate(getenv)
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: secure}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // only to explain the status
		return fmt.Errorf("check health: %s: %s", resp.Status, body)
	}
	return nil
}

// ownCertificate is how the server itself would ask another, nil without a certificate.
func ownCertificate(getenv func(string) string) (*tls.Config, error) {
	cert, key, ca := getenv("ETCD_CERT_FILE"), getenv("ETCD_KEY_FILE"), getenv("ETCD_TRUSTED_CA_FILE")
	if cert == "" || key == "" || ca == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(text)
	return config, nil
}
