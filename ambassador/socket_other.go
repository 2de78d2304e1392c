//go:build !linux

package ambassador

// freeBind does nothing: an address that is not there yet is tried again.
func freeBind(int) error { return nil }
