package dokkaacfg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

// newHostClient returns what asks hosts for what etcd does not hold, through SSH where they are reached
// by it. A log has no end, so only its beginning has a deadline.
func newHostClient(p provider) *http.Client {
	hosts := sync.OnceValues(func() ([]Host, error) { return p.hosts(context.Background()) })
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		all, err := hosts()
		if err != nil {
			return nil, err
		}
		return dialTo(all)(ctx, network, addr)
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial, ResponseHeaderTimeout: 15 * time.Second}}
}

// readLog calls line with each line of an instance's log, which its host's gateway has from the
// conductor there.
func (s *session) readLog(ctx context.Context, of instanceReport, wanted logRequest, line func(state.LogLine) error) error {
	host, err := hostOf(of)
	if err != nil {
		return err
	}
	query := url.Values{}
	if wanted.tail >= 0 {
		query.Set("tail", strconv.Itoa(wanted.tail))
	}
	if !wanted.since.IsZero() {
		query.Set("since", wanted.since.UTC().Format(time.RFC3339Nano))
	}
	if wanted.follow {
		query.Set("follow", "true")
	}
	address := s.gateway(host) + "/v1/hosts/" + of.Host + "/instances/" + url.PathEscape(of.Instance) + "/logs?" + query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return fmt.Errorf("read the log of %s %d: %w", of.Ref, of.Slot, err)
	}
	resp, err := s.hostClient.Do(request)
	if err != nil {
		return fmt.Errorf("read the log of %s %d: %w", of.Ref, of.Slot, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		says, _ := io.ReadAll(io.LimitReader(resp.Body, 1000)) // the status says something, too
		return fmt.Errorf("read the log of %s %d on host %s: %s: %s", of.Ref, of.Slot, of.Host, resp.Status, strings.TrimSpace(string(says)))
	}
	decoder := json.NewDecoder(resp.Body)
	for {
		var l state.LogLine
		switch err := decoder.Decode(&l); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the log of %s %d on host %s: it breaks off: %w", of.Ref, of.Slot, of.Host, err)
		case l.Error != "":
			return fmt.Errorf("read the log of %s %d on host %s: %s", of.Ref, of.Slot, of.Host, l.Error)
		}
		if err := line(l); err != nil {
			return err
		}
	}
}
