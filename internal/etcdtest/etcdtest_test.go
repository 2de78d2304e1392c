package etcdtest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
)

func put(t *testing.T, endpoint, key, value string) {
	t.Helper()
	form := url.Values{"value": {value}}.Encode()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, endpoint+"/v2/keys"+key, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if status, body := do(t, req); status >= 300 {
		t.Fatalf("PUT %s: %d %s", key, status, body)
	}
}

func get(t *testing.T, endpoint, key string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, endpoint+"/v2/keys"+key+"?quorum=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	status, _ := do(t, req)
	return status
}

func do(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestRestartKeepsDataAndWipeDoesNot(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	m := c.Member(0)
	put(t, m.URL(), "/a", "1")
	m.Restart()
	if status := get(t, m.URL(), "/a"); status != http.StatusOK {
		t.Errorf("after a restart: %d", status)
	}
	m.Wipe()
	if status := get(t, m.URL(), "/a"); status != http.StatusNotFound {
		t.Errorf("after a wipe: %d", status)
	}
}

func TestThreeMembersAreOneCluster(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 3)
	if n := len(c.Endpoints()); n != 3 {
		t.Fatalf("%d endpoints", n)
	}
	put(t, c.Endpoints()[0], "/a", "1")
	c.Member(0).Kill()
	etcdtest.WaitFor(t, 10*time.Second, func() error { c.Leader(); return nil })
	etcdtest.WaitFor(t, 10*time.Second, func() error { // a leader is not heard of everywhere at once
		if status := get(t, c.Endpoints()[1], "/a"); status != http.StatusOK {
			return fmt.Errorf("without one member: %d", status)
		}
		return nil
	})
}
