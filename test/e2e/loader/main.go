// Loader asks a linked service for its page again and again, as many users would, and counts: for
// the end-to-end tests. It links one service, whose address it has from the environment. Every
// request is a connection of its own. Each second it prints how it went since it began, as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

// rate is how many requests each of the users makes in a second at the most.
const (
	users   = 4
	rate    = 10
	timeout = 5 * time.Second
)

// report is a line of the output.
type report struct {
	OK     int       `json:"ok"`
	Failed int       `json:"failed"`
	Errors []string  `json:"errors,omitempty"` // the first ones
	Time   time.Time `json:"time"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	url, err := target(os.Environ())
	if err != nil {
		fmt.Fprintln(os.Stderr, "loader:", err)
		os.Exit(2)
	}
	var (
		mu    sync.Mutex
		total report
		wg    sync.WaitGroup
	)
	for range users {
		wg.Go(func() {
			for tick := time.NewTicker(time.Second / rate); ctx.Err() == nil; <-tick.C {
				err := ask(url)
				mu.Lock()
				if err == nil {
					total.OK++
				} else if total.Failed++; len(total.Errors) < 10 {
					total.Errors = append(total.Errors, time.Now().UTC().Format("15:04:05.000 ")+err.Error())
				}
				mu.Unlock()
			}
		})
	}
	for ctx.Err() == nil {
		mu.Lock()
		total.Time = time.Now().UTC()
		line, err := json.Marshal(total)
		mu.Unlock()
		if err == nil {
			fmt.Println(string(line))
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	wg.Wait()
}

// target is the URL of the one service that is linked.
func target(env []string) (string, error) {
	for _, variable := range env {
		key, addr, _ := strings.Cut(variable, "=")
		if name, ok := strings.CutPrefix(key, "SERVICE_"); ok && strings.HasSuffix(name, "_ADDR") {
			port := os.Getenv("SERVICE_" + strings.TrimSuffix(name, "_ADDR") + "_PORT")
			return "http://" + net.JoinHostPort(addr, port) + "/", nil
		}
	}
	return "", fmt.Errorf("no service is linked")
}

func ask(url string) error {
	client := http.Client{Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}
