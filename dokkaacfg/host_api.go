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
func newHostClient(p provider, d doors) *http.Client {
	hosts := sync.OnceValues(func() ([]Host, error) { return p.hosts(context.Background()) })
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		all, err := hosts()
		if err != nil {
			return nil, err
		}
		return dialTo(all)(ctx, network, addr)
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial, TLSClientConfig: d.keys.Clone(), ResponseHeaderTimeout: 15 * time.Second}}
}

// askHost asks the gateway of an instance's host for the logs or stats of the instance. The caller
// closes the answer's body.
func (s *session) askHost(ctx context.Context, of instanceReport, what string, query url.Values) (*http.Response, error) {
	host, err := hostOf(of)
	if err != nil {
		return nil, err
	}
	address := s.doors.gateway(host) + "/v1/hosts/" + of.Host + "/instances/" + url.PathEscape(of.Instance) + "/" + what + "?" + query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("read the %s of %s %d: %w", what, of.Ref, of.Slot, err)
	}
	resp, err := s.hostClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("read the %s of %s %d: %w", what, of.Ref, of.Slot, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		says, _ := io.ReadAll(io.LimitReader(resp.Body, 1000)) // the status says something, too
		return nil, fmt.Errorf("read the %s of %s %d on host %s: %s: %s", what, of.Ref, of.Slot, of.Host, resp.Status, strings.TrimSpace(string(says)))
	}
	return resp, nil
}

// readUsage is what an instance uses of its host.
func (s *session) readUsage(ctx context.Context, of instanceReport) (usage state.Usage, err error) {
	resp, err := s.askHost(ctx, of, "stats", nil)
	if err != nil {
		return usage, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&usage); err != nil {
		return usage, fmt.Errorf("read the stats of %s %d on host %s: %w", of.Ref, of.Slot, of.Host, err)
	}
	return usage, nil
}

// readLog calls line with each line of an instance's log, which its host's gateway has from the
// conductor there.
func (s *session) readLog(ctx context.Context, of instanceReport, wanted logRequest, line func(state.LogLine) error) error {
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
	resp, err := s.askHost(ctx, of, "logs", query)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	decoder := json.NewDecoder(resp.Body)
	for {
		var l state.LogLine
		switch err := decoder.Decode(&l); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the logs of %s %d on host %s: they break off: %w", of.Ref, of.Slot, of.Host, err)
		case l.Error != "":
			return fmt.Errorf("read the logs of %s %d on host %s: %s", of.Ref, of.Slot, of.Host, l.Error)
		}
		if err := line(l); err != nil {
			return err
		}
	}
}
