package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

// hostPath is the API of a host: what its conductor, which listens on loopback only, knows of its
// containers. A gateway answers for its own host.
const hostPath = "/v1/hosts/{ip}/"

// conductorPatience is how long the conductor may take to begin an answer.
const conductorPatience = 15 * time.Second

// hostDoor lets requests about this host through to its conductor.
type hostDoor struct {
	ip     string
	proxy  *httputil.ReverseProxy
	ending context.Context // streams have no end of their own
	end    context.CancelFunc
}

func newHostDoor(ip, conductor string, log *slog.Logger) (d *hostDoor, transport *http.Transport) {
	transport = newTransport()
	transport.ResponseHeaderTimeout = conductorPatience
	d = &hostDoor{ip: ip}
	d.ending, d.end = context.WithCancel(context.Background())
	target := &url.URL{Scheme: "http", Host: conductor}
	d.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.URL.Path, r.Out.URL.RawPath = "/v1/"+r.In.PathValue("rest"), ""
			r.Out.Header.Del("Origin")
		},
		Transport:     transport,
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil {
				http.Error(w, "the conductor of host "+ip+" does not answer: "+err.Error(), http.StatusBadGateway)
			}
		},
	}
	return d, transport
}

func (d *hostDoor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch ip := r.PathValue("ip"); {
	case d.ip == "":
		http.Error(w, "this gateway does not know which host it is on: set HOST_IP", http.StatusNotFound)
		return
	case ip != d.ip:
		http.Error(w, fmt.Sprintf("this is the gateway of host %s: ask that of %s", d.ip, ip), http.StatusMisdirectedRequest)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(d.ending, cancel)()
	d.proxy.ServeHTTP(w, r.WithContext(ctx))
}
