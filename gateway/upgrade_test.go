package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// upgrading is a conductor that sends back what it gets once a connection is upgraded.
func upgrading(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "dokkaa-stream" {
		http.Error(w, "no upgrade", http.StatusUpgradeRequired)
		return
	}
	who := r.Header.Get("Dokkaa-Asked-By")
	body, _ := io.ReadAll(r.Body)
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprintf(buffered, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: dokkaa-stream\r\n\r\n%s asks %s|", who, body)
	_ = buffered.Flush()
	_, _ = io.Copy(conn, buffered)
}

// upgraded asks a gateway for an upgraded connection, as a page of origin would unless that is "".
func upgraded(t *testing.T, url, origin string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/hosts/10.0.0.1/instances/i1/exec", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "dokkaa-stream")
	req.Header.Set("Dokkaa-Asked-By", "somebody else")
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func TestUpgradedConnection(t *testing.T) {
	near, nearURL := hostGateway(t, upgrading)
	far, farURL := gatewayOf(t, "10.0.0.2", upgrading)
	far.host.joined(map[string]string{"10.0.0.1:4001": nearURL})
	for name, test := range map[string]struct {
		url string
		by  *Gateway
	}{
		"at its own host's gateway": {nearURL, near},
		"through another's":         {farURL, far},
	} {
		t.Run(name, func(t *testing.T) {
			conn, ok := upgraded(t, test.url, "").Body.(io.ReadWriteCloser)
			if !ok {
				t.Fatal("it is not upgraded")
			}
			const hello = "127.0.0.1 asks |"
			text := make([]byte, len(hello))
			if _, err := io.ReadFull(conn, text); err != nil || string(text) != hello {
				t.Fatalf("%q, %v", text, err)
			}
			time.Sleep(100 * time.Millisecond) // nobody cuts what is idle
			if _, err := io.WriteString(conn, "x"); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(conn, text[:1]); err != nil || text[0] != 'x' {
				t.Fatalf("%q, %v", text[:1], err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = io.Copy(io.Discard, conn)
			}()
			test.by.host.end()
			select {
			case <-ended:
			case <-time.After(5 * time.Second):
				t.Error("it goes on after the gateway's end")
			}
			test.by.host.ending, test.by.host.end = context.WithCancel(context.Background())
		})
	}
	for _, origin := range []string{"http://evil.example", "null", "https://127.0.0.1"} {
		if resp := upgraded(t, nearURL, origin); resp.StatusCode != http.StatusForbidden {
			t.Errorf("for a page of %s: %s", origin, resp.Status)
		}
	}
}

// A connection that was to be made anew can be upgraded instead: it then ends with what it was upgraded for.
func TestUpgradeOfALeavingConnection(t *testing.T) {
	near, _ := hostGateway(t, upgrading)
	e := new(entrance)
	e.resting.Store(true)
	server := httptest.NewServer(e.leaving(near))
	defer server.Close()
	resp := upgraded(t, server.URL, "")
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		t.Fatalf("it is not upgraded: %s, %v", resp.Status, resp.Header)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "x"); err != nil {
		t.Fatal(err)
	}
	const want = "127.0.0.1 asks |x"
	text := make([]byte, len(want))
	if _, err := io.ReadFull(conn, text); err != nil || string(text) != want {
		t.Errorf("%q, %v", text, err)
	}
}
