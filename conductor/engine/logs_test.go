package engine

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestLines(t *testing.T) {
	const stamp = "2026-11-21T09:45:07.107756249Z"
	at := time.Date(2026, 11, 21, 9, 45, 7, 107756249, time.UTC)
	long := strings.Repeat("x", maxLogLine)
	tests := map[string]struct {
		writes []string
		want   []LogLine
	}{
		"a line":            {[]string{stamp + " hello\n"}, []LogLine{{at, "stdout", "hello"}}},
		"an empty line":     {[]string{stamp + " \n"}, []LogLine{{at, "stdout", ""}}},
		"in pieces":         {[]string{stamp[:7], stamp[7:] + " one\n" + stamp, " two\n"}, []LogLine{{at, "stdout", "one"}, {at, "stdout", "two"}}},
		"without an end":    {[]string{stamp + " one\n" + stamp + " two"}, []LogLine{{at, "stdout", "one"}, {at, "stdout", "two"}}},
		"without a time":    {[]string{"one two\n"}, []LogLine{{Stream: "stdout", Text: "one two"}}},
		"longer than it is": {[]string{long + "y\n"}, []LogLine{{Stream: "stdout", Text: long + "y"}}},
		"never ends":        {[]string{long, "y\n"}, []LogLine{{Stream: "stdout", Text: long}, {Stream: "stdout", Text: "y"}}},
		"nothing":           {nil, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got []LogLine
			l := &lines{stream: "stdout", line: func(line LogLine) error { got = append(got, line); return nil }}
			for _, text := range test.writes {
				if n, err := l.Write([]byte(text)); n != len(text) || err != nil {
					t.Fatal(n, err)
				}
			}
			if err := l.end(); err != nil {
				t.Fatal(err)
			}
			if len(got) != len(test.want) {
				t.Fatalf("got %d lines, want %d: %.200v", len(got), len(test.want), got)
			}
			for i := range got {
				if !got[i].Time.Equal(test.want[i].Time) || got[i].Stream != test.want[i].Stream || got[i].Text != test.want[i].Text {
					t.Errorf("line %d: %.200v, want %.200v", i, got[i], test.want[i])
				}
			}
		})
	}
	gone := errors.New("the client left")
	l := &lines{line: func(LogLine) error { return gone }}
	if _, err := l.Write([]byte("one\n")); !errors.Is(err, gone) {
		t.Errorf("the reader failed, and it goes on: %v", err)
	}
}
