package dokkaacfg

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/dokkaa/dokkaa/internal/stream"
)

// refusedStream is what a host says that does not do what it was asked.
type refusedStream struct {
	status int
	says   string
}

func (r *refusedStream) Error() string { return r.says }

// openStream asks the host of an instance for a stream: to a command, or to a port. The caller closes it.
// Body is sent as JSON unless it is nil.
func (s *session) openStream(ctx context.Context, of instanceReport, what string, query url.Values, body any) (*stream.Conn, error) {
	host, err := hostOf(of)
	if err != nil {
		return nil, err
	}
	var content io.Reader = http.NoBody
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(data)
	}
	address := s.doors.gateway(host) + "/v1/hosts/" + of.Host + "/instances/" + url.PathEscape(of.Instance) + "/" + what + "?" + query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, content)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", stream.Protocol)
	resp, err := s.hostClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("host %s does not answer: %w\ndokkaacfg status says how it is", of.Host, err)
	}
	raw, ok := resp.Body.(io.ReadWriteCloser)
	if resp.StatusCode == http.StatusSwitchingProtocols && ok {
		return stream.New(raw), nil
	}
	defer resp.Body.Close()
	says, _ := io.ReadAll(io.LimitReader(resp.Body, 4000)) // the status says something, too
	text := strings.TrimSpace(string(says))
	if resp.StatusCode == http.StatusNotFound && !strings.Contains(text, "has no instance") {
		text += "\nIs the host's conductor of an earlier version? dokkaacfg status shows it"
	}
	return nil, &refusedStream{resp.StatusCode, fmt.Sprintf("host %s refuses: %s", of.Host, text)}
}
