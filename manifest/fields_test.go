package manifest_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/dokkaa/dokkaa/manifest"
)

// parse reads a manifest of an image and these fields, and again what it is written as.
func parse(t *testing.T, fields string) *manifest.Manifest {
	t.Helper()
	m, err := manifest.Parse([]byte(`{"image": "i", ` + fields + `}`))
	if err != nil {
		t.Fatalf("%s: %v", fields, err)
	}
	canonical, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	again, err := manifest.Parse(canonical)
	if err != nil {
		t.Fatalf("%s: %v", canonical, err)
	}
	if !reflect.DeepEqual(again, m) {
		t.Errorf("written as %s\nread  %+v\nagain %+v", canonical, m, again)
	}
	return m
}

func equal[T any](t *testing.T, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// refusals are fields of a manifest that is right otherwise, and what must be said about them.
type refusals map[string]struct {
	fields string
	want   []string
}

func (r refusals) check(t *testing.T) {
	t.Helper()
	for name, test := range r {
		t.Run(name, func(t *testing.T) {
			_, err := manifest.Parse([]byte(`{"image": "i", ` + test.fields + `}`))
			var errs manifest.Errors
			if !errors.As(err, &errs) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if got := errs.Strings(); !slices.Equal(got, test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}
