package manifest

import "strings"

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

// orNil avoids the typed nil.
func (e Errors) orNil() error {
	if len(e) == 0 {
		return nil
	}
	return e
}
