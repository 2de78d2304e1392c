//go:build linux

package engine

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"
	"github.com/google/go-containerregistry/pkg/registry"
)

// startRegistry starts a registry on the host, and returns its address.
func (h *testHost) startRegistry(t *testing.T) string {
	t.Helper()
	return h.serve(t, registry.New(registry.Logger(log.New(io.Discard, "", 0))))
}

// serve serves on the host, and returns where.
func (h *testHost) serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	listener, err := h.Listen(t.Context(), "tcp", net.JoinHostPort(h.IP().String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// push puts an image of the host into a registry, under another name, and forgets that name.
func (h *testHost) push(t *testing.T, image, address, name, tag string) {
	t.Helper()
	repository := address + "/" + name
	if err := h.client.TagImage(image, dockerclient.TagImageOptions{Repo: repository, Tag: tag, Context: t.Context()}); err != nil {
		t.Fatal(err)
	}
	if err := h.client.PushImage(dockerclient.PushImageOptions{Name: repository, Tag: tag, Context: t.Context()}, dockerclient.AuthConfiguration{Username: "anybody"}); err != nil {
		t.Fatal(err)
	}
	h.untag(t, repository+":"+tag)
}

func (h *testHost) untag(t *testing.T, name string) {
	t.Helper()
	if err := h.engine.RemoveImage(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

// build makes an image of its own, by running the test image once.
func (h *testHost) build(t *testing.T, name string) (id string) {
	t.Helper()
	container, err := h.engine.Create(t.Context(), spec(30, "ibuild"))
	if err != nil {
		t.Fatal(err)
	}
	defer h.stop(t, container)
	image, err := h.client.CommitContainer(dockerclient.CommitContainerOptions{Container: container, Repository: name, Message: name, Context: t.Context()})
	if err != nil {
		t.Fatal(err)
	}
	return image.ID
}

func testImages(t *testing.T, h *testHost) {
	address := h.startRegistry(t)
	ctx := t.Context()

	local, err := h.engine.Image(ctx, testImage)
	if err != nil || !IsImageID(local.ID) || !slices.Contains(local.Tags, testImage+":latest") || len(local.Digests) > 0 {
		t.Errorf("an image that was loaded: %+v, %v", local, err)
	}
	id := h.build(t, "built")
	h.push(t, "built", address, "shop/web", "1")
	h.untag(t, "built")
	name := address + "/shop/web"
	if _, err := h.engine.Image(ctx, name+":1"); !errors.Is(err, ErrNoImage) {
		t.Fatalf("after it was removed: %v", err)
	}

	if err := h.engine.Pull(ctx, name+":1", Login{}); err != nil {
		t.Fatal(err)
	}
	pulled, err := h.engine.Image(ctx, name+":1")
	if err != nil || pulled.ID != id || len(pulled.Digests) != 1 || !strings.HasPrefix(pulled.Digests[0], name+"@sha256:") {
		t.Fatalf("an image that was pulled: %+v, %v", pulled, err)
	}
	for _, known := range []string{pulled.ID, pulled.Digests[0]} {
		s := spec(31, "iresolved")
		s.Image = known
		container := h.run(t, s)
		if c, _ := h.find(t, s.Instance); c.ImageID != pulled.ID {
			t.Errorf("made of %s, listed with %s", known, c.ImageID)
		}
		if used, err := h.engine.UsedImages(ctx); err != nil || !used[pulled.ID] || !used[known] || used[local.ID] {
			t.Errorf("used %v, %v", used, err)
		}
		if err := h.engine.RemoveImage(ctx, pulled.ID); err == nil {
			t.Error("removed an image that a container has")
		}
		h.stop(t, container)
	}
	h.untag(t, pulled.ID)
	if err := h.engine.Pull(ctx, pulled.Digests[0], Login{}); err != nil {
		t.Fatal(err)
	}
	if again, err := h.engine.Image(ctx, pulled.Digests[0]); err != nil || again.ID != id || len(again.Tags) > 0 {
		t.Errorf("pulled by digest: %+v, %v", again, err)
	}
	for range 2 { // what is gone is removed
		h.untag(t, pulled.Digests[0])
	}
	if _, err := h.engine.Image(ctx, id); !errors.Is(err, ErrNoImage) {
		t.Errorf("after its last name was removed: %v", err)
	}
	testAbsent(t, h, address, pulled.Digests[0])
	testLogin(t, h)
}

// testLogin pulls from a registry that wants to know who asks.
func testLogin(t *testing.T, h *testHost) {
	all := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	var password atomic.Value
	password.Store("hunter2")
	address := h.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, given, _ := r.BasicAuth()
		if user != "ann" || given != password.Load() {
			w.Header().Set("WWW-Authenticate", `Basic realm="shop"`)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}`)
			return
		}
		all.ServeHTTP(w, r)
	}))
	name := address + "/shop/web:1"
	if err := h.client.TagImage(testImage, dockerclient.TagImageOptions{Repo: address + "/shop/web", Tag: "1", Context: t.Context()}); err != nil {
		t.Fatal(err)
	}
	err := h.client.PushImage(dockerclient.PushImageOptions{Name: address + "/shop/web", Tag: "1", Context: t.Context()}, dockerclient.AuthConfiguration{Username: "ann", Password: "hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	h.untag(t, name)
	right := Login{Username: "ann", Password: "hunter2"}
	for _, test := range []struct {
		login Login
		says  string
	}{
		{Login{}, "the cluster has no login there: dokkaacfg registry login " + address},
		{Login{Username: "ann", Password: "hunter1"}, "registry " + address + " does not give it to user ann, or the password has changed: dokkaacfg registry login " + address},
		{right, ""},
	} {
		err := h.engine.Pull(t.Context(), name, test.login)
		if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says) || errors.Is(err, ErrImageAbsent) || strings.Contains(err.Error(), "hunter")) {
			t.Errorf("%v: %v, want %q", test.login, err, test.says)
		}
		t.Log(err)
	}
	h.untag(t, name)
	password.Store("hunter3")
	if err := h.engine.Pull(t.Context(), name, right); err == nil || !strings.Contains(err.Error(), "the password has changed") {
		t.Errorf("with the password from before: %v", err)
	}
}

// testAbsent tells what nobody has from what cannot be had just now.
func testAbsent(t *testing.T, h *testHost, address, digest string) {
	nobodys := strings.Repeat("0", 64)
	for image, absent := range map[string]bool{
		address + "/shop/web:2":                 true,
		address + "/shop/nobody:1":              true,
		address + "/shop/web@sha256:" + nobodys: true,
		"Not A Name":                            true,
		strings.Replace(digest, address, net.JoinHostPort(h.IP().String(), "1"), 1): false, // nobody listens there
		"registry.invalid/shop/web:1": false,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		err := h.engine.Pull(ctx, image, Login{})
		cancel()
		if err == nil || errors.Is(err, ErrImageAbsent) != absent {
			t.Errorf("pull %s: %v; absent should be %v", image, err, absent)
		}
		t.Log(err)
	}
}
