package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// decoder reads JSON strictly: it collects every error with its path instead of ending at the
// first, and knows duplicate members, which encoding/json does not.
type decoder struct{ errs Errors }

// member is one name and value of a JSON object.
type member struct {
	name  string
	value json.RawMessage
}

// fields maps the names of an object's fields to what reads them.
type fields map[string]func(path string, value json.RawMessage)

// read decodes the object and hands each field to its reader.
func (d *decoder) read(path string, value json.RawMessage, known fields, unsupported []string) {
	for _, m := range d.object(path, value) {
		at := join(path, m.name)
		if read, ok := known[m.name]; ok {
			read(at, m.value)
		} else if contains(unsupported, m.name) {
			d.errs.add(at, "not supported by this version")
		} else {
			d.errs.add(at, "unknown field")
		}
	}
}

// object is the members of a JSON object in their order, nil with an error if it is none.
func (d *decoder) object(path string, value json.RawMessage) []member {
	if kind(value) != '{' {
		d.errs.add(path, "must be an object, is "+describe(value))
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(value))
	var members []member
	seen := map[string]bool{}
	_, err := dec.Token() // the brace
	for err == nil && dec.More() {
		var name json.Token
		if name, err = dec.Token(); err != nil {
			break
		}
		m := member{name: name.(string)} // the grammar has strings here
		if err = dec.Decode(&m.value); err != nil {
			break
		}
		if seen[m.name] {
			d.errs.add(join(path, m.name), "is given twice")
			continue
		}
		seen[m.name] = true
		members = append(members, m)
	}
	if err != nil {
		d.errs.add(path, err.Error())
		return nil
	}
	return members
}

func (d *decoder) array(path string, value json.RawMessage) []json.RawMessage {
	var items []json.RawMessage
	if kind(value) != '[' || json.Unmarshal(value, &items) != nil {
		d.errs.add(path, "must be a list, is "+describe(value))
		return nil
	}
	return items
}

func (d *decoder) text(path string, value json.RawMessage) string {
	var s string
	if kind(value) != '"' || json.Unmarshal(value, &s) != nil {
		d.errs.add(path, "must be a string, is "+describe(value))
	}
	if strings.ContainsRune(s, 0) {
		d.errs.add(path, "must not contain a NUL character")
	}
	return s
}

// number reads a whole number between low and high.
func (d *decoder) number(path string, value json.RawMessage, low, high int) int {
	var n int
	if json.Unmarshal(value, &n) != nil || kind(value) == 'n' {
		d.errs.add(path, "must be a whole number, is "+describe(value))
		return low
	}
	if n < low || n > high {
		d.errs.add(path, fmt.Sprintf("must be between %d and %d, is %d", low, high, n))
		return low
	}
	return n
}

// wellFormed says where data is no JSON, with line and column.
func wellFormed(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("is not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	var v json.RawMessage
	err := dec.Decode(&v)
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		line, column := position(data, int(syntax.Offset))
		return fmt.Errorf("is not JSON: line %d, column %d: %w", line, column, err)
	case errors.Is(err, io.EOF):
		return errors.New("is empty")
	case err != nil:
		return fmt.Errorf("is not JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("has something behind the JSON object")
	}
	return nil
}

func position(data []byte, offset int) (line, column int) {
	before := data[:min(max(offset-1, 0), len(data))]
	line = bytes.Count(before, []byte("\n")) + 1
	return line, len(before) - bytes.LastIndexByte(before, '\n')
}

// kind is the first byte of a JSON value, which tells what it is.
func kind(value json.RawMessage) byte {
	value = bytes.TrimLeft(value, " \t\r\n")
	if len(value) == 0 {
		return 0
	}
	return value[0]
}

func describe(value json.RawMessage) string {
	switch c := kind(value); c {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 'n':
		return "null"
	default:
		text := strings.TrimSpace(string(value))
		if len(text) > 40 {
			text = strings.ToValidUTF8(text[:40], "") + "…"
		}
		return text
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}
