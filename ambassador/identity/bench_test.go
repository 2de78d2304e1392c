package identity

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/dokkaa/dokkaa/internal/docker"
)

// BenchmarkEvent is what an event costs a host of a thousand containers, each with three links.
func BenchmarkEvent(b *testing.B) {
	c := New(Settings{Log: slog.New(slog.DiscardHandler), Failed: func() {}, Changed: func() {}})
	var listed []docker.Container
	for i := range 1000 {
		listed = append(listed, docker.Container{ID: fmt.Sprint(i), Name: fmt.Sprint("shop---crawler---", i), State: "running",
			Labels: map[string]string{labelCluster: "c", labelBackends: labelOf(map[int]string{10001: "a", 10002: "b", 10003: "c"})},
			Addrs:  map[string][]netip.Addr{"dokkaa": {netip.AddrFrom4([4]byte{172, 30, byte(i / 250), byte(i % 250)})}}})
	}
	c.table.replace(listed, 0, c.table.left[departure{}].at, func(string, error) {})
	for b.Loop() {
		c.hint(event("container", "start", "7"))
	}
}

// BenchmarkKnown is what a connection costs.
func BenchmarkKnown(b *testing.B) {
	c := New(Settings{})
	c.view.Store(&view{trusted: true, callers: map[netip.Addr]*Caller{addr2: {ID: "crawler"}}})
	for b.Loop() {
		if c.Known(addr2) == nil {
			b.Fatal("nobody")
		}
	}
}
