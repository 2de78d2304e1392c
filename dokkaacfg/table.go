package dokkaacfg

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// table is text in columns, with lines between its rows that are in none.
type table struct{ lines []tableLine }

type tableLine struct {
	cells []string
	note  string
}

// row adds a row. The first one is the head.
func (t *table) row(cells ...string) { t.lines = append(t.lines, tableLine{cells: cells}) }

// note adds lines below the last row, each with a mark in front.
func (t *table) note(lines []string) {
	for _, line := range lines {
		t.lines = append(t.lines, tableLine{note: "    | " + line})
	}
}

// String is the table without the columns that have nothing but a head, "" if there is no row
// but that.
func (t *table) String() string {
	if len(t.lines) < 2 {
		return ""
	}
	widths := make([]int, len(t.lines[0].cells))
	for _, line := range t.lines[1:] {
		for i, cell := range line.cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var text strings.Builder
	for _, line := range t.lines {
		written := line.note
		for i, cell := range line.cells {
			if widths[i] > 0 {
				width := max(widths[i], utf8.RuneCountInString(t.lines[0].cells[i]))
				written += fmt.Sprintf("%-*s  ", width, cell)
			}
		}
		text.WriteString(strings.TrimRight(written, " ") + "\n")
	}
	return text.String()
}
