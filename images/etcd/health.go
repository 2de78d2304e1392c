package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// checkHealth asks the server at url whether it is healthy: it has a leader and takes writes.
func checkHealth(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
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
