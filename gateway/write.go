package gateway

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"
)

const (
	maxValue    = 1 << 20           // bytes of a value, the longest manifest
	maxBody     = 3*maxValue + 4096 // as a form escapes it at worst
	bodyTimeout = 30 * time.Second
)

// conditions of a v2 request: with one of them, a second try would test what the first did.
var conditions = []string{"prevExist", "prevIndex", "prevValue"}

// message is a request as it may be sent several times.
type message struct {
	body       []byte
	repeatable bool // a second try does no harm, whatever became of the first
	wait       bool // a long poll
}

// readMessage reads the whole body, so that another member can be asked the same.
func readMessage(w http.ResponseWriter, r *http.Request) (message, error) {
	if r.ContentLength > maxBody {
		return message{}, tooLarge()
	}
	// The server has no read timeout, for long polls have none.
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil {
		return message{}, fmt.Errorf("set deadline: %w", err)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return message{}, tooLarge()
	case err != nil:
		return message{}, &refusal{http.StatusBadRequest, "the request's body broke off: " + err.Error()}
	}
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return message{}, fmt.Errorf("clear deadline: %w", err)
	}
	return newMessage(r, body)
}

func newMessage(r *http.Request, body []byte) (message, error) {
	m := message{body: body}
	form, err := formOf(r, body)
	if err != nil {
		return m, nil // etcd will say what is wrong with it
	}
	if len(form.Get("value")) > maxValue {
		return m, tooLarge()
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		m.repeatable = true
		m.wait = form.Get("wait") == "true"
	case http.MethodPut:
		m.repeatable = form.Has("value")
		for _, condition := range conditions {
			if form.Has(condition) {
				m.repeatable = false
			}
		}
	}
	return m, nil
}

// formOf reads the parameters where etcd does: in the query, and in a body that is a form.
func formOf(r *http.Request, body []byte) (url.Values, error) {
	form, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return form, nil
	}
	posted, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	for key, values := range posted {
		form[key] = append(values, form[key]...)
	}
	return form, nil
}

func tooLarge() error {
	return &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("the value is longer than %d bytes", maxValue)}
}
