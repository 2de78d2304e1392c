package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decoder reads JSON strictly: it collects every error with its path instead of ending at the
// first, and knows duplicate members, which encoding/json does not.
type decoder struct{ errs Errors }

// maxName is the length in bytes of a member's name. Paths of errors are made of names.
const maxName = 400

// member is one name and value of a JSON object.
type member struct {
	name  string
	value json.RawMessage
}

// reader reads a value of JSON; what is wrong with it becomes an error at the path.
type reader[T any] func(path string, value json.RawMessage) T

// fields maps the names of an object's fields to what reads them.
type fields map[string]func(path string, value json.RawMessage)

// into is the field that is read into target.
func into[T any](target *T, read reader[T]) func(string, json.RawMessage) {
	return func(path string, value json.RawMessage) { *target = read(path, value) }
}

// read decodes the object, hands each field to its reader, and tells which fields there were.
func (d *decoder) read(path string, value json.RawMessage, known fields, unsupported ...string) (given map[string]bool) {
	given = map[string]bool{}
	for _, m := range d.object(path, value) {
		at := join(path, m.name)
		given[m.name] = true
		if read, ok := known[m.name]; ok {
			read(at, m.value)
		} else if slices.Contains(unsupported, m.name) {
			d.errs.add(at, "not supported by this version")
		} else {
			d.errs.add(at, "unknown field")
		}
	}
	return given
}

// require finds the fields that an object lacks.
func (d *decoder) require(path string, value json.RawMessage, given map[string]bool, names ...string) {
	for _, name := range names {
		if kind(value) == '{' && !given[name] {
			d.errs.add(join(path, name), "is missing")
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
		if len(m.name) > maxName {
			d.errs.addf(path, "the name %.20q… is %d bytes long, at most %d are allowed", m.name, len(m.name), maxName)
			continue
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

// list reads each item of a list of at most most items; an empty one is nil.
func list[T any](d *decoder, most int, read reader[T]) reader[[]T] {
	return func(path string, value json.RawMessage) []T {
		items := d.array(path, value)
		if len(items) > most {
			d.errs.addf(path, "has %d entries, at most %d are allowed", len(items), most)
			return nil
		}
		var all []T
		for i, item := range items {
			all = append(all, read(index(path, i), item))
		}
		return all
	}
}

// texts reads an object of strings, by their names; an empty one is nil.
func (d *decoder) texts(path string, value json.RawMessage) map[string]string {
	var all map[string]string
	for _, m := range d.object(path, value) {
		if all == nil {
			all = map[string]string{}
		}
		all[m.name] = d.text(join(path, m.name), m.value)
	}
	return all
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

// word reads a string that is not empty.
func (d *decoder) word(path string, value json.RawMessage) string {
	s := d.text(path, value)
	if s == "" && !d.errs.has(path) {
		d.errs.add(path, "must not be empty")
	}
	return s
}

// oneOf reads one of a few words.
func oneOf[T ~string](d *decoder, words ...T) reader[T] {
	return func(path string, value json.RawMessage) T {
		s := T(d.text(path, value))
		if !slices.Contains(words, s) && !d.errs.has(path) {
			quoted := make([]string, len(words))
			for i, word := range words {
				quoted[i] = strconv.Quote(string(word))
			}
			last := len(quoted) - 1
			d.errs.addf(path, "must be %s or %s, is %q", strings.Join(quoted[:last], ", "), quoted[last], s)
		}
		return s
	}
}

func (d *decoder) flag(path string, value json.RawMessage) bool {
	var b bool
	if json.Unmarshal(value, &b) != nil || kind(value) == 'n' {
		d.errs.add(path, "must be true or false, is "+describe(value))
	}
	return b
}

// between reads a whole number between low and high.
func (d *decoder) between(low, high int) reader[int] {
	return func(path string, value json.RawMessage) int {
		var n int
		if json.Unmarshal(value, &n) != nil || kind(value) == 'n' {
			d.errs.add(path, "must be a whole number, is "+describe(value))
			return low
		}
		if n < low || n > high {
			d.errs.addf(path, "must be between %d and %d, is %d", low, high, n)
			return low
		}
		return n
	}
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

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
