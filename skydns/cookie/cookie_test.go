package cookie

import (
	"bytes"
	"net/netip"
	"testing"
	"time"
)

func TestCookies(t *testing.T) {
	s, now, client := New(), time.Now(), netip.MustParseAddr("192.0.2.7")
	first := []byte("12345678")
	fresh, proven := s.Answer(first, client, now)
	if proven || len(fresh) != clientSize+serverSize || !bytes.HasPrefix(fresh, first) {
		t.Fatalf("first contact: %x, %v", fresh, proven)
	}
	if _, proven := s.Answer(fresh, client, now.Add(30*time.Minute)); !proven {
		t.Error("a cookie of ours proves nothing")
	}
	changed := bytes.Clone(fresh)
	changed[12]++
	for title, prove := range map[string]func() bool{
		"of another address": func() bool { _, p := s.Answer(fresh, netip.MustParseAddr("192.0.2.8"), now); return p },
		"too old":            func() bool { _, p := s.Answer(fresh, client, now.Add(2*time.Hour)); return p },
		"from the future":    func() bool { _, p := s.Answer(fresh, client, now.Add(-time.Hour)); return p },
		"changed":            func() bool { _, p := s.Answer(changed, client, now); return p },
		"of another server":  func() bool { _, p := New().Answer(fresh, client, now); return p },
		"of another kind":    func() bool { _, p := s.Answer(append(first, "12345678"...), client, now); return p },
	} {
		if prove() {
			t.Errorf("a cookie %s is taken", title)
		}
	}
	for size, want := range map[int]bool{0: false, 7: false, 8: true, 9: false, 15: false, 16: true, 24: true, 40: true, 41: false} {
		if Legal(make([]byte, size)) != want {
			t.Errorf("size %d: legal is %v", size, !want)
		}
	}
}
