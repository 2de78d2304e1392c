//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// tap stands between a host's conductor and its Engine. It passes everything on but the request to
// make a container: of that it notes the moment, and refuses it, so that nothing comes of it.
type tap struct {
	server *http.Server
	socket string
	asked  chan time.Time
	wg     sync.WaitGroup
}

// newTap listens beside the Engine's own socket. The caller closes the tap.
func newTap(e engine) (*tap, error) {
	t := &tap{socket: strings.TrimSuffix(e.socket, ".sock") + "-tap.sock", asked: make(chan time.Time, 16)}
	if err := os.Remove(t.socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", t.socket)
	if err != nil {
		return nil, fmt.Errorf("tap the Engine: %w", err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "docker"})
	proxy.Transport, proxy.FlushInterval = e.transport(), -1
	t.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/containers/create") && strings.HasPrefix(r.URL.Query().Get("name"), app+"---") {
			select {
			case t.asked <- time.Now():
			default: // it asks again for what was not waited for
			}
			http.Error(w, `{"message": "this is only a measurement"}`, http.StatusInternalServerError)
			return
		}
		proxy.ServeHTTP(w, r)
	})}
	t.wg.Go(func() { _ = t.server.Serve(listener) }) // always ends with an error, at Close's behest
	return t, nil
}

func (t *tap) close() error {
	err := t.server.Close()
	t.wg.Wait()
	return err
}

// insert has the host's conductor made anew, with the tap where its Engine was.
func (t *tap) insert(ctx context.Context, e engine) error {
	const name = "conductor"
	var c struct {
		Config     map[string]any
		HostConfig map[string]any
	}
	if err := e.request(ctx, http.MethodGet, "/containers/"+name+"/json", nil, &c); err != nil {
		return err
	}
	c.HostConfig["Binds"] = []string{t.socket + ":/var/run/docker.sock"}
	c.Config["HostConfig"] = c.HostConfig
	if err := e.remove(ctx, name); err != nil {
		return err
	}
	if err := e.request(ctx, http.MethodPost, "/containers/create?name="+name, c.Config, nil); err != nil {
		return err
	}
	return e.request(ctx, http.MethodPost, "/containers/"+name+"/start", nil, nil)
}
