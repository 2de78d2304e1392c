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

// Errors is everything that is wrong with a manifest, in the manifest's order.
type Errors []FieldError

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
	*e = append(*e, FieldError{Path: path, Message: message})
}

func (e *Errors) addf(path, format string, args ...any) { e.add(path, fmt.Sprintf(format, args...)) }

// has tells whether something is wrong with the field itself.
func (e Errors) has(path string) bool {
	for _, err := range e {
		if err.Path == path {
			return true
		}
	}
	return false
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
	return true
}

// orNil avoids the typed nil.
func (e Errors) orNil() error {
	if len(e) == 0 {
		return nil
	}
	return e
}
