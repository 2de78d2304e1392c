package engine

import (
	"strings"
	"testing"
)

func TestReadable(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"nothing":             {"", ""},
		"a line":              {"no such file\r\n", "no such file"},
		"the last of several": {"one\ntwo\n\n", "two"},
		"colours":             {"\x1b[31mred\x1b[0m", "[31mred [0m"},
		"no text":             {"\xff\xfe", "?"},
		"long":                {strings.Repeat("ä", 300), strings.Repeat("ä", 199) + "…"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := readable(test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestReadableLines(t *testing.T) {
	text := "first\n"
	for range 12 {
		text += "again\n\n"
	}
	text += "  last"
	lines := readableLines(text)
	if len(lines) != logLines || lines[0] != "again" || lines[logLines-1] != "last" {
		t.Errorf("got %q", lines)
	}
}

func TestTail(t *testing.T) {
	var last tail
	for range 3 {
		if n, err := last.Write([]byte(strings.Repeat("x", lineBytes-1) + "\n")); n != lineBytes || err != nil {
			t.Fatal(n, err)
		}
	}
	if len(last.end) != lineBytes || last.end[lineBytes-1] != '\n' {
		t.Errorf("kept %d bytes", len(last.end))
	}
}
