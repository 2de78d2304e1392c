package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-etcd/etcd"
)

// answer is what etcd said to one request.
type answer struct {
	action  string
	node    *etcd.Node // nil where there is none: an error, an idle poll
	prev    *etcd.Node
	index   uint64    // X-Etcd-Index: the answer is about the keys as of this index
	cluster string    // X-Etcd-Cluster-Id
	started time.Time // when the try that was answered began

	// repeated says that an earlier try may have reached etcd, so that the answer may be about
	// the keys as that one left them.
	repeated bool
}

// exchange carries one request of go-etcd's to its endpoint. go-etcd knows no contexts, no
// deadlines, and keeps the header of an answer to itself until the body's end. But it lets its
// transport be replaced, by a type whose protocols can be: so it comes through here.
type exchange struct {
	ctx       context.Context
	transport http.RoundTripper

	sent   atomic.Bool // a connection was had: the request may have left
	header http.Header // of the answer, nil before it
	onHead func()      // called when the header is there
}

// RoundTrip implements http.RoundTripper.
func (x *exchange) RoundTrip(req *http.Request) (*http.Response, error) {
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { x.sent.Store(true) }}
	resp, err := x.transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(x.ctx, trace)))
	if err == nil {
		x.header = resp.Header
		x.onHead()
	}
	return resp, err
}

// run sends the request through a go-etcd client of its own: that costs some memory, and nothing
// is shared that go-etcd would have to lock, which it does not.
func (x *exchange) run(endpoint, method, path string, form url.Values) (*etcd.RawResponse, error) {
	transport := new(http.Transport)
	transport.RegisterProtocol("http", x)
	transport.RegisterProtocol("https", x)
	// Nothing ever uses the transport's own HTTP/2, which would claim https for itself.
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP1(true)

	client := etcd.NewClient([]string{endpoint})
	client.SetTransport(transport)
	client.CheckRetry = func(_ *etcd.Cluster, _ int, resp http.Response, err error) error {
		switch resp.StatusCode {
		case 0:
			return &noAnswer{sent: x.sent.Load(), err: err}
		case http.StatusOK, http.StatusCreated:
			return &noAnswer{sent: true, err: errBrokeOff}
		}
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) // only to explain the status
		return statusError(resp.StatusCode, body)
	}
	return client.SendRequest(etcd.NewRawRequest(method, path, form, nil))
}

// send asks one endpoint once. It returns when ctx ends at the latest; if no header has come
// within headTimeout (0: no such limit) before that. The answer's index and cluster are those of
// the header even beside an error, where one came.
func (s *Store) send(ctx context.Context, e *endpoint, r request, headTimeout time.Duration) (answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	x := &exchange{ctx: ctx, transport: s.transport, onHead: func() {}}
	if headTimeout > 0 {
		timer := time.AfterFunc(headTimeout, func() { cancel(errNoHeader) })
		defer timer.Stop()
		x.onHead = func() { timer.Stop() }
	}
	a := answer{started: time.Now()}
	raw, err := x.run(e.url, r.method, r.path(), r.form)
	s.metrics.observe(r.method, a.started, err)
	if x.header != nil {
		// Absent or broken, it reads as 0, which every user takes for "before all".
		a.index, _ = strconv.ParseUint(x.header.Get("X-Etcd-Index"), 10, 64)
		a.cluster = x.header.Get("X-Etcd-Cluster-Id")
	}
	if err == nil {
		err = a.decode(raw)
	}
	var failed *noAnswer
	if cause := context.Cause(ctx); cause != nil && errors.As(err, &failed) {
		err = &noAnswer{sent: failed.sent, err: cause} // rather than "context canceled"
	}
	if err != nil && errors.As(err, &failed) {
		return a, fmt.Errorf("%s: %w", e.url, err)
	}
	return a, err
}

var (
	errNoHeader = errors.New("no answer began in time")
	errBrokeOff = errors.New("the answer broke off")
)

// decode reads a whole answer.
func (a *answer) decode(raw *etcd.RawResponse) error {
	if raw.StatusCode != http.StatusOK && raw.StatusCode != http.StatusCreated {
		return statusError(raw.StatusCode, raw.Body)
	}
	var response etcd.Response
	if len(raw.Body) == 0 {
		return &noAnswer{sent: true, err: errBrokeOff}
	}
	if err := json.Unmarshal(raw.Body, &response); err != nil || response.Node == nil {
		return &noAnswer{sent: true, err: fmt.Errorf("not an answer about keys: %.200q", raw.Body)}
	}
	a.action, a.node, a.prev = response.Action, response.Node, response.PrevNode
	return nil
}

// keyPath is the path of a key below /v2/. Segments are escaped as path segments: go-etcd's own
// escaping stores "a b" as "a+b".
func keyPath(key string) (string, error) {
	if key == "/" {
		return "keys/", nil
	}
	if !strings.HasPrefix(key, "/") {
		return "", fmt.Errorf("key %q: want a path that begins with /", key)
	}
	segments := strings.Split(key[1:], "/")
	for i, segment := range segments {
		if segment == "" || segment == "." || segment == ".." {
			return "", fmt.Errorf("key %q: a segment must be neither empty nor %q nor %q", key, ".", "..")
		}
		segments[i] = url.PathEscape(segment)
	}
	return "keys/" + strings.Join(segments, "/"), nil
}
