// Package digitaloceantest is DigitalOcean's API for tests: keys, sizes, images, droplets,
// firewalls, VPCs, tags and volumes of one account, in memory. It holds every request against
// DigitalOcean's own description of their API, and every answer of its own too, so that it cannot
// drift from what it stands for. It does what a far API does on a bad day: see Fault.
package digitaloceantest

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

//go:embed testdata/openapi.yaml
var description []byte

// operations finds what a request asks for in the description, which takes a while to read.
var operations = sync.OnceValues(func() (routers.Router, error) {
	doc, err := openapi3.NewLoader().LoadFromData(description)
	if err != nil {
		return nil, err
	}
	doc.Servers = nil // the test's own address is as good
	return gorillamux.NewRouter(doc)
})

// Token is what a client has to show.
const Token = "dop_v1_test"

// API is an account at DigitalOcean. It is safe for concurrent use, and an http.Handler.
type API struct {
	router routers.Router

	mu        sync.Mutex
	data      account
	faults    []*Fault
	postponed []late
	requests  []Request
	violation []error
	machines  Machines
	late      int // reads of a droplet until it has its addresses

	making sync.WaitGroup // of machines
	ctx    context.Context
}

// Request is one that the API was sent.
type Request struct {
	Method, Path string // with the query
	At           time.Time
	Status       int // of the answer; 0 if it was lost
}

// New returns an account with a VPC for each region, as most have, and no more. When the test
// ends, it fails if a request or an answer was not as the description says.
func New(t testing.TB) *API {
	t.Helper()
	router, err := operations()
	if err != nil {
		t.Fatal(err)
	}
	a := &API{router: router, data: newAccount(), ctx: t.Context()}
	t.Cleanup(func() {
		a.making.Wait()
		for _, err := range a.Violations() {
			t.Errorf("not as the API's description says: %v", err)
		}
	})
	return a
}

// Violations are the requests and answers that the description refuses, each with the reason. They
// are told once.
func (a *API) Violations() []error {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.violation
	a.violation = nil
	return all
}

// Requests are all so far.
func (a *API) Requests() []Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Request(nil), a.requests...)
}

// Client returns a client that reaches the API without a network, at any address.
func (a *API) Client() *http.Client { return &http.Client{Transport: inProcess{a}} }

type inProcess struct{ api *API }

// RoundTrip answers as a server would. An answer that is lost is a connection that breaks.
func (p inProcess) RoundTrip(r *http.Request) (response *http.Response, err error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	defer func() {
		if thrown := recover(); thrown == http.ErrAbortHandler {
			response, err = nil, io.ErrUnexpectedEOF
		} else if thrown != nil {
			panic(thrown)
		}
	}()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	recorder := httptest.NewRecorder()
	p.api.ServeHTTP(recorder, r)
	response = recorder.Result()
	response.Request = r
	return response, nil
}

// ServeHTTP answers a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	request := Request{Method: r.Method, Path: r.URL.RequestURI(), At: time.Now()}
	defer func() { a.requests = append(a.requests, request) }()

	a.catchUp(1)
	fault := a.faultFor(request)
	if fault != nil && fault.Later > 0 {
		a.postpone(r, fault.Later)
	}
	if fault != nil && !fault.After {
		request.Status = fault.Status
		fault.answer(w)
		return
	}
	reply := a.reply(r)
	if fault != nil {
		request.Status = fault.Status
		fault.answer(w)
		return
	}
	request.Status = reply.status
	reply.write(w)
}

// reply is an answer. The body of an error is made from its message.
type reply struct {
	status  int
	message string
	body    any
}

func refuse(status int, format string, args ...any) reply {
	return reply{status: status, message: fmt.Sprintf(format, args...)}
}

func (r reply) bytes() []byte {
	body := r.body
	if r.message != "" {
		id := strings.ReplaceAll(strings.ToLower(http.StatusText(r.status)), " ", "_")
		body = map[string]any{"id": id, "message": r.message}
	}
	if body == nil {
		return nil
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // it is made of maps and plain structs
	}
	return text
}

func (r reply) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(r.status)
	_, _ = w.Write(r.bytes()) // whoever went away does not want it
}

// reply does what a request asks for, if the description allows it.
func (a *API) reply(r *http.Request) reply {
	route, params, err := a.router.FindRoute(r)
	if err != nil {
		a.violation = append(a.violation, fmt.Errorf("%s %s: %w", r.Method, r.URL, err))
		return refuse(http.StatusNotFound, "the resource you requested could not be found")
	}
	if r.Header.Get("Authorization") != "Bearer "+Token {
		return refuse(http.StatusUnauthorized, "Unable to authenticate you")
	}
	input := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			AuthenticationFunc:                openapi3filter.NoopAuthenticationFunc,
			RejectWhenRequestBodyNotSpecified: true, SkipSettingDefaults: true,
			SchemaValidationOptions: []openapi3.SchemaValidationOption{openapi3.EnableFormatValidation(), uuids, addresses},
		},
	}
	if err := openapi3filter.ValidateRequest(r.Context(), input); err != nil {
		a.violation = append(a.violation, fmt.Errorf("%s %s: %w", r.Method, r.URL, err))
		return refuse(http.StatusUnprocessableEntity, "%v", err)
	}
	reply := a.do(route.Operation.OperationID, r, params)
	if err := validateReply(input, reply); err != nil {
		a.violation = append(a.violation, fmt.Errorf("answer to %s %s: %w", r.Method, r.URL, err))
	}
	return reply
}

var (
	uuids     = openapi3.WithStringFormatValidator("uuid", openapi3.NewRegexpFormatValidator(openapi3.FormatOfStringForUUIDOfRFC4122))
	addresses = openapi3.WithStringFormatValidator("ipv4", openapi3.NewIPValidator(true))
)

func validateReply(input *openapi3filter.RequestValidationInput, r reply) error {
	header := http.Header{"Content-Type": {"application/json"}}
	return openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: r.status, Header: header,
		Body: io.NopCloser(bytes.NewReader(r.bytes())), Options: &openapi3filter.Options{
			IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
		},
	})
}

// do does what the operation says, which the description knows.
func (a *API) do(operation string, r *http.Request, params map[string]string) reply {
	switch operation {
	case "sshKeys_list":
		return page(r, "ssh_keys", a.data.keys)
	case "sizes_list":
		return page(r, "sizes", a.data.sizes)
	case "images_get":
		return a.data.image(params["image_id"])
	case "droplets_list":
		return page(r, "droplets", a.listDroplets(r.URL.Query().Get("tag_name")))
	case "droplets_create":
		return a.createDroplet(r)
	case "droplets_get":
		return a.getDroplet(params["droplet_id"])
	case "droplets_destroy":
		return a.destroyDroplet(params["droplet_id"])
	case "firewalls_list":
		return page(r, "firewalls", a.data.firewalls)
	case "firewalls_create":
		return a.data.createFirewall(r)
	case "firewalls_update":
		return a.data.updateFirewall(r, params["firewall_id"])
	case "firewalls_delete":
		return remove(&a.data.firewalls, params["firewall_id"])
	case "vpcs_list":
		return page(r, "vpcs", a.data.vpcs)
	case "vpcs_create":
		return a.data.createVPC(r)
	case "vpcs_delete":
		return a.data.deleteVPC(params["vpc_id"])
	case "tags_create":
		return a.data.createTag(r)
	case "tags_get":
		return a.data.tag(params["tag_id"])
	case "tags_delete":
		return a.data.deleteTag(params["tag_id"])
	case "volumes_list":
		return page(r, "volumes", a.data.volumes)
	case "volumes_delete":
		return a.data.deleteVolume(params["volume_id"])
	}
	panic("the description has an operation that is not written: " + operation)
}

// decode reads a body that the description allowed.
func decode(r *http.Request, into any) error { return json.NewDecoder(r.Body).Decode(into) }
