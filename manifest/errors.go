package manifest

import (
	"fmt"
	"strings"
)

// FieldError is what is wrong with one field.
type FieldError struct {
	Path    string // "services.nginx.port", empty for the manifest as a whole
	Message string
}

func (e FieldError) Error() string {
	if e.Path == "" {
		return e.Message
	}
	return e.Path + ": " + e.Message
}

// Errors is everything that is wrong with a manifest: what is wrong in itself in the manifest's
// order, then what contradicts each other. Of very many only the first are told.
type Errors []FieldError

// Limits of what is told: it goes into the status, and a manifest may be wrong in each of its bytes.
const (
	maxErrors  = 50
	maxMessage = 500 // bytes
)

func (e Errors) Error() string { return strings.Join(e.Strings(), "; ") }

// Strings is each error's text.
func (e Errors) Strings() []string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return texts
}

func (e *Errors) add(path, message string) {
	switch {
	case len(*e) < maxErrors:
		if len(message) > maxMessage {
			message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
		}
		*e = append(*e, FieldError{Path: path, Message: message})
	case len(*e) == maxErrors:
		*e = append(*e, FieldError{Message: "has more errors, which are left out"})
	}
}

// full tells whether errors were left out, so that nothing is known to be right.
func (e Errors) full() bool { return len(e) > maxErrors }

func (e *Errors) addf(path, format string, args ...any) { e.add(path, fmt.Sprintf(format, args...)) }

// has tells whether something is wrong with the field itself.
func (e Errors) has(path string) bool {
	for _, err := range e {
		if err.Path == path {
			return true
		}
	}
	return e.full()
}

// sound tells whether nothing is wrong with the fields and all below them, so that it makes sense
// to compare them.
func (e Errors) sound(paths ...string) bool {
	for _, err := range e {
		for _, path := range paths {
			rest, below := strings.CutPrefix(err.Path, path)
			if below && (rest == "" || rest[0] == '.' || rest[0] == '[') {
				return false
			}
		}
	}
	return !e.full()
}

// orNil avoids the typed nil.
func (e Errors) orNil() error {
	if len(e) == 0 {
		return nil
	}
	return e
}
