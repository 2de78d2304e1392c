package explain

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// width is how long lines for people are.
const width = 100

// Field tells of a field by its path, also as an error of a manifest names it:
// services.web.port, checks[0].interval. For one that holds others, it tells of all of these.
func (r Reference) Field(path string) (string, error) {
	path = index.ReplaceAllString(strings.TrimSpace(path), "")
	for _, name := range spellings(path) {
		if i := slices.IndexFunc(r.fields, func(f Field) bool { return f.Path == name }); i >= 0 && !r.holds(name) {
			return r.fields[i].text() + "\n" + r.examples(r.fields[i]), nil
		}
		if text := r.about(name); text != "" {
			return text, nil
		}
	}
	return "", fmt.Errorf("there is no field %s; there are %s", path, strings.Join(r.Fields(), ", "))
}

var index = regexp.MustCompile(`\[\d*\]`)

// spellings are the paths in the page that may be meant: services.web.port is services.port there,
// and env.HOME just env.
func spellings(path string) []string {
	all := []string{path}
	parts := strings.Split(path, ".")
	if len(parts) > 2 {
		all = append(all, parts[0]+"."+strings.Join(parts[2:], "."))
	}
	for n := len(parts) - 1; n > 0; n-- {
		all = append(all, strings.Join(parts[:n], "."))
	}
	return all
}

// holds tells whether a field has fields of its own.
func (r Reference) holds(name string) bool {
	return slices.ContainsFunc(r.fields, func(f Field) bool { return strings.HasPrefix(f.Path, name+".") })
}

// about is all that the page says in the section about a field that holds others, or that a
// paragraph is about; "" if there is none.
func (r Reference) about(name string) string {
	for _, s := range r.sections {
		if !s.about(name) {
			continue
		}
		var text []string
		for _, p := range s.parts {
			switch {
			case p.example:
				text = append(text, p.text)
			case p.fields != nil:
				var rows []string
				for _, f := range p.fields {
					rows = append(rows, f.text())
				}
				text = append(text, strings.Join(rows, "\n"))
			default:
				text = append(text, wrap(p.text, ""))
			}
		}
		return s.title + "\n\n" + strings.Join(text, "\n\n") + "\n"
	}
	return ""
}

func (s section) about(name string) bool {
	return slices.ContainsFunc(s.parts, func(p part) bool {
		is, _, _ := subject(p)
		return is == name || slices.ContainsFunc(p.fields, func(f Field) bool { return strings.HasPrefix(f.Path, name+".") })
	})
}

// text tells of the field: its path, what it is by default, and what it means.
func (f Field) text() string {
	head := f.Path
	if f.Default != "" {
		head += " (default: " + f.Default + ")"
	}
	meaning := f.Meaning
	if f.Renews {
		meaning = strings.TrimSuffix(meaning, ".")
		if meaning != "" {
			meaning += ". "
		}
		meaning += "Changing it makes a new revision, and an update replaces the containers."
	}
	if meaning == "" {
		return head
	}
	return head + "\n" + wrap(meaning, "    ")
}

// examples are those in the field's section that have it.
func (r Reference) examples(f Field) string {
	name := f.Path[strings.LastIndex(f.Path, ".")+1:]
	var all []string
	for _, p := range r.sections[f.section].parts {
		if p.example && strings.Contains(p.text, `"`+name+`"`) {
			all = append(all, "\n"+p.text+"\n")
		}
	}
	return strings.Join(all, "")
}

// wrap breaks text into lines of some width, each with the indentation.
func wrap(text, indent string) string {
	var lines []string
	line := indent
	for word := range strings.FieldsSeq(text) {
		if len(line) > len(indent) && len([]rune(line))+1+len([]rune(word)) > width {
			lines = append(lines, line)
			line = indent
		}
		if len(line) > len(indent) {
			line += " "
		}
		line += word
	}
	return strings.Join(append(lines, line), "\n")
}
