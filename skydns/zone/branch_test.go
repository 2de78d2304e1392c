package zone

import "testing"

// Labels whose hashes are the same to the last bit are kept apart, too.
func TestEqualHashes(t *testing.T) {
	var b *branch
	for _, label := range []string{"a", "b", "c", "b"} {
		b = b.with(7, hashBits, &Node{label: label})
	}
	for _, label := range []string{"a", "c", "x"} {
		b = b.without(7, hashBits, label)
	}
	if only := b.only(); only == nil || only.label != "b" {
		t.Errorf("%+v is left, want b", b)
	}
	if b = b.without(7, hashBits, "b"); b != nil {
		t.Errorf("%+v is left, want nothing", b)
	}
}
