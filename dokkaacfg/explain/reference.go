// Package explain finds what the reference of the manifest says about a field, for a terminal. It
// is pure: the page is its input.
package explain

import (
	"regexp"
	"slices"
	"strings"
)

// Reference is the page about the manifest, taken apart.
type Reference struct {
	fields   []Field
	sections []section
}

// Field is a row of one of the page's tables.
type Field struct {
	Path    string // update.order
	Default string // as text, "" for none
	Meaning string
	Renews  bool // changing it makes a new revision, whose instances replace the old ones
	section int
}

// section is what stands below a heading.
type section struct {
	title string
	parts []part // in the page's order
}

// part is a paragraph, a list, an example or a table.
type part struct {
	text    string
	example bool
	fields  []Field
}

// Parse takes the page apart.
func Parse(page string) Reference {
	var r Reference
	for i, text := range strings.Split("\n"+page, "\n## ") {
		title, body, _ := strings.Cut(text, "\n")
		if i == 0 {
			continue // what holds of all fields
		}
		s := section{title: title}
		for block := range strings.SplitSeq(body, "\n\n") {
			if block = strings.Trim(block, "\n"); block != "" {
				s.parts = append(s.parts, parsePart(block, i-1))
			}
		}
		for _, p := range s.parts {
			r.fields = append(r.fields, p.fields...)
		}
		r.sections = append(r.sections, s)
	}
	return r
}

func parsePart(block string, section int) part {
	switch {
	case strings.HasPrefix(block, "    "):
		return part{text: block, example: true}
	case strings.HasPrefix(block, "|"):
		return part{fields: parseTable(strings.Split(block, "\n"), section)}
	}
	return part{text: plain(strings.ReplaceAll(block, "\n", " "))}
}

var quoted = regexp.MustCompile("`([^`]+)`")

// parseTable reads the rows of a table whose head is | field | default | meaning |, or
// | field of `update` | …; a row or a head with ● is about what makes a new revision.
func parseTable(lines []string, section int) (fields []Field) {
	head := cells(lines[0])
	of := ""
	if name := quoted.FindStringSubmatch(head[0]); name != nil {
		of = name[1] + "."
	}
	for _, line := range lines[min(2, len(lines)):] {
		row := cells(line)
		if len(row) != 3 {
			continue
		}
		for _, name := range quoted.FindAllStringSubmatch(row[0], -1) {
			fields = append(fields, Field{Path: of + name[1], Default: plain(row[1]), Meaning: plain(row[2]),
				Renews: strings.Contains(head[0]+row[0], "●"), section: section})
		}
	}
	return fields
}

// cells are those of a table's line. A bar that is text has a backslash before it.
func cells(line string) []string {
	const bar = "\x00"
	line = strings.ReplaceAll(strings.Trim(strings.TrimSpace(line), "|"), `\|`, bar)
	var all []string
	for cell := range strings.SplitSeq(line, "|") {
		all = append(all, strings.TrimSpace(strings.ReplaceAll(cell, bar, "|")))
	}
	return all
}

var link = regexp.MustCompile(`\[([^\]]+)\]\([^)]*\)`)

// plain is text without the marks of Markdown.
func plain(text string) string {
	text = link.ReplaceAllString(text, "$1")
	return strings.NewReplacer("`", "", "**", "", " ●", "").Replace(text)
}

// Fields are the fields that a manifest may have at its top: those of the tables and those that
// sections are about.
func (r Reference) Fields() (names []string) {
	add := func(name string) {
		if name, _, _ = strings.Cut(name, "."); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, s := range r.sections {
		for _, p := range s.parts {
			if name, _, isField := subject(p); isField {
				add(name)
			}
			for _, f := range p.fields {
				add(f.Path)
			}
		}
	}
	slices.Sort(names)
	return names
}

// subject is the field that a paragraph is about: its first word, in lower case with an underscore
// or a small letter. The page writes such a paragraph as "`links` ● is a list of …".
func subject(p part) (name, rest string, ok bool) {
	name, rest, _ = strings.Cut(p.text, " ")
	if p.example || p.fields != nil || !fieldName.MatchString(name) || !slices.Contains([]string{"is", "are"}, firstWord(rest)) {
		return "", "", false
	}
	return name, rest, true
}

var fieldName = regexp.MustCompile(`^[a-z][a-z_]+$`)

func firstWord(text string) string {
	word, _, _ := strings.Cut(text, " ")
	return word
}
