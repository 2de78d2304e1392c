package gateway

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestAnOutageIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	members := []*url.URL{{Scheme: "http", Host: "a:1"}, {Scheme: "http", Host: "b:1"}}
	c := newCluster(members, http.DefaultTransport, slog.New(slog.NewTextHandler(&log, nil)))
	outage := func() {
		for range 10 { // probes, and requests between them
			for _, m := range c.members {
				ctx, over := m.begin(t.Context(), true)
				c.note(m, away, dialError{errors.New("connection refused")})
				if ctx.Err() == nil {
					t.Error("a request goes on")
				}
				over()
			}
		}
	}
	for outages := 1; outages <= 2; outages++ {
		for _, m := range c.members {
			c.note(m, healthy, nil)
		}
		outage()
		for _, m := range c.members {
			lines := 0
			for line := range strings.Lines(log.String()) {
				if strings.Contains(line, "were cut") && strings.Contains(line, m.url.String()) {
					lines++
				}
			}
			if lines != outages {
				t.Errorf("%d lines about %s in %d outages:\n%s", lines, m.url, outages, log.String())
			}
		}
	}
}
