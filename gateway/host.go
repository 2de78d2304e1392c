package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"time"

	"github.com/dokkaa/dokkaa/internal/certificate"
)

// hostPath is the API of a host: what its conductor, which listens on loopback only, knows of its
// containers. Any gateway answers for any host: for another than its own it asks that one's gateway.
const hostPath = "/v1/hosts/{ip}/"

const (
	// conductorPatience is how long the conductor may take to begin an answer.
	conductorPatience = 15 * time.Second
	// hostPort is that of all gateways.
	hostPort = "4001"
	// forwardedBy says which host's gateway asks another's. That one asks nobody else.
	forwardedBy = "Dokkaa-Forwarded-By"
	// askedBy tells the conductor for whom it does something.
	askedBy = "Dokkaa-Asked-By"
)

// hostDoor lets requests about a host through to its conductor.
type hostDoor struct {
	ip                  string
	near, far           *httputil.ReverseProxy // to the conductor; to other gateways
	toConductor, toHost *http.Transport
	ending              context.Context // streams have no end of their own
	end                 context.CancelFunc
}

// newHostDoor makes the door of the host ip. With a certificate, nil for none, other gateways are asked
// over TLS.
func newHostDoor(ip, conductor string, kept *certificate.Kept, log *slog.Logger) *hostDoor {
	d := &hostDoor{ip: ip, toConductor: newTransport(nil), toHost: newTransport(kept)}
	d.toConductor.ResponseHeaderTimeout = conductorPatience
	d.toHost.ResponseHeaderTimeout = conductorPatience + dialTimeout // it says more than that nothing came
	d.ending, d.end = context.WithCancel(context.Background())
	d.near = newHostProxy(d.toConductor, log, "conductor", func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: conductor})
		r.Out.URL.Path, r.Out.URL.RawPath = "/v1/"+r.In.PathValue("rest"), ""
		r.Out.Header.Del(forwardedBy)
	})
	scheme := "http"
	if kept != nil {
		scheme = "https"
	}
	d.far = newHostProxy(d.toHost, log, "gateway", func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: scheme, Host: r.In.PathValue("ip") + ":" + hostPort})
		r.Out.Header.Set(forwardedBy, ip)
	})
	return d
}

func newHostProxy(transport http.RoundTripper, log *slog.Logger, whose string, rewrite func(*httputil.ProxyRequest)) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			rewrite(r)
			r.Out.Header.Del("Origin")
			if !isForwarded(r.In) { // else another gateway knew better
				r.Out.Header.Set(askedBy, whoAsks(r.In))
			}
		},
		Transport: transport,
		ModifyResponse: func(resp *http.Response) error {
			if wantsUpgrade(resp.Request) && resp.StatusCode != http.StatusSwitchingProtocols {
				resp.Header.Set("Connection", "close")
			}
			return nil
		},
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil {
				http.Error(w, fmt.Sprintf("the %s of host %s does not answer: %v", whose, r.PathValue("ip"), err), http.StatusBadGateway)
			}
		},
	}
}

// CloseIdleConnections closes those to the conductor and to other gateways.
func (d *hostDoor) CloseIdleConnections() {
	d.toConductor.CloseIdleConnections()
	d.toHost.CloseIdleConnections()
}

func (d *hostDoor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ip := r.PathValue("ip")
	proxy := d.near
	switch by := r.Header.Get(forwardedBy); {
	case d.ip == "":
		http.Error(w, "this gateway does not know which host it is on: set HOST_IP", http.StatusNotFound)
		return
	case ip == d.ip:
	case by != "":
		http.Error(w, fmt.Sprintf("this is the gateway of host %s, and that of %s takes it for that of %s", d.ip, by, ip), http.StatusMisdirectedRequest)
		return
	case !isHostAddress(ip):
		http.Error(w, fmt.Sprintf("%q is not the IPv4 address of a host", ip), http.StatusNotFound)
		return
	default:
		proxy = d.far
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(d.ending, cancel)()
	proxy.ServeHTTP(w, r.WithContext(ctx))
}

// isHostAddress tells whether other hosts could have the address.
func isHostAddress(text string) bool {
	addr, err := netip.ParseAddr(text)
	return err == nil && addr.Is4() && addr.IsGlobalUnicast()
}

// isForwarded tells whether another gateway asks, where those have certificates to show for it.
func isForwarded(r *http.Request) bool {
	if r.TLS != nil && (len(r.TLS.PeerCertificates) == 0 || certificate.RoleOf(r.TLS.PeerCertificates[0]) != certificate.Gateway) {
		return false
	}
	return r.Header.Get(forwardedBy) != ""
}

// whoAsks is who sends a request, as far as can be told.
func whoAsks(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return r.TLS.PeerCertificates[0].Subject.CommonName + " at " + host
	}
	return host
}
