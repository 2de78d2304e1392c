package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/dokkaa/dokkaa/internal/certificate"
)

// Times of a request to a member.
const (
	dialTimeout = time.Second
	// etcd itself gives up after 7 s; a long poll's header comes at once.
	headerTimeout = 10 * time.Second
)

// errAway says that no member of etcd answered.
var errAway = errors.New("etcd is away")

// errOutcome says that a write was sent and not answered.
var errOutcome = errors.New("the write may or may not have been applied")

// dialError is a failure before anything was sent.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// unasked is a failure before the member asked for the body, without which it applies no write.
type unasked struct{ error }

func (e unasked) Unwrap() error { return e.error }

// newTransport makes the connections to the members, over TLS with the certificate kept, nil for
// none. Connections of requests and of probes are kept apart by using two of them.
func newTransport(kept *certificate.Kept) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, dialError{err}
		}
		return conn, nil
	}
	transport := &http.Transport{
		DialContext:           dial,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       30 * time.Second,
		ResponseHeaderTimeout: headerTimeout,
		ExpectContinueTimeout: headerTimeout,
		DisableCompression:    true, // what etcd says is passed on as it is
	}
	if kept != nil {
		secure := certificate.Dialer(dial, kept.Client)
		transport.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := secure(ctx, network, addr)
			if err != nil {
				return nil, unasked{err}
			}
			return conn, nil
		}
	}
	return transport
}

type messageKey struct{}

// failover sends each request to a member that answers.
type failover struct {
	cluster   *cluster
	transport http.RoundTripper
	metrics   *metrics
}

// RoundTrip implements http.RoundTripper for requests whose context holds their message.
func (f *failover) RoundTrip(req *http.Request) (*http.Response, error) {
	m, _ := req.Context().Value(messageKey{}).(message)
	var errs []error
	for _, member := range f.cluster.order() {
		resp, err := f.try(req, m, member)
		if err == nil {
			f.cluster.prefer(member)
			return resp, nil
		}
		if req.Context().Err() != nil || errors.Is(err, errEnding) {
			return nil, err // the client left, or must
		}
		f.metrics.memberErrors.Inc()
		errs = append(errs, fmt.Errorf("%s: %w", member.url, err))
		var unsent dialError
		var unread unasked
		switch {
		case errors.As(err, &unsent):
			f.cluster.note(member, away, err)
		case errors.As(err, &unread), m.repeatable:
		default:
			return nil, fmt.Errorf("%w: %w", errOutcome, errors.Join(errs...))
		}
	}
	return nil, fmt.Errorf("%w: %w", errAway, errors.Join(errs...))
}

// try sends the request to one member. The body of a write goes only to a member that asks for it:
// one that hangs reads what it was sent when it goes on, and would apply a write that was given to
// another member long ago, and undone since.
func (f *failover) try(req *http.Request, m message, to *member) (*http.Response, error) {
	ctx, over := to.begin(untraced{req.Context()}, m.wait)
	body := &body{}
	out := req.Clone(ctx)
	out.URL.Scheme, out.URL.Host, out.Host = to.url.Scheme, to.url.Host, ""
	out.ContentLength = int64(len(m.body))
	out.Body, out.GetBody = http.NoBody, nil
	if len(m.body) > 0 {
		out.GetBody = func() (io.ReadCloser, error) { return body.of(m.body), nil }
		out.Body = body.of(m.body)
		out.Header.Set("Expect", "100-continue")
	}
	resp, err := f.transport.RoundTrip(out)
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errCutOff) || errors.Is(cause, errEnding) {
			err = cause
		}
		if len(m.body) > 0 && !body.sent.Load() {
			err = unasked{err}
		}
		over()
		return nil, err
	}
	resp.Body = &answerBody{ReadCloser: resp.Body, over: over}
	return resp, nil
}

// body tells whether anything of a request's body was taken to be sent.
type body struct{ sent atomic.Bool }

func (b *body) of(text []byte) io.ReadCloser { return &bodyReader{bytes.NewReader(text), b} }

type bodyReader struct {
	io.Reader
	of *body
}

func (r *bodyReader) Read(p []byte) (int, error) {
	r.of.sent.Store(true)
	return r.Reader.Read(p)
}

func (r *bodyReader) Close() error { return nil }

// untraced is a context without the reverse proxy's trace, which would pass a member's wish for the
// body on to a client that has sent it.
type untraced struct{ context.Context }

func (c untraced) Value(key any) any {
	value := c.Context.Value(key)
	if _, trace := value.(*httptrace.ClientTrace); trace {
		return nil
	}
	return value
}

// answerBody is the body of an answer, whose end is the end of the request.
type answerBody struct {
	io.ReadCloser
	over context.CancelFunc
}

func (b *answerBody) Close() error {
	err := b.ReadCloser.Close()
	b.over()
	return err
}
