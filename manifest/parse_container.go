package manifest

import (
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strings"
)

// ownLabels is what the names of our own labels on containers begin with.
const ownLabels = "dokkaa."

func (d *decoder) image(path string, value json.RawMessage) string {
	image := d.word(path, value)
	if strings.ContainsAny(image, " \t\r\n") || strings.HasPrefix(image, "-") {
		d.errs.addf(path, "%q is not the name of an image", image)
	}
	return image
}

func (d *decoder) command(path string, value json.RawMessage) []string {
	return list(d, maxArguments, d.text)(path, value)
}

// maxArguments is of a command; the manifest's size limits them too.
const maxArguments = 10_000

// entrypoint reads a list like a command's, or the program alone.
func (d *decoder) entrypoint(path string, value json.RawMessage) []string {
	if kind(value) == '"' {
		return []string{d.word(path, value)}
	}
	return d.command(path, value)
}

// env reads {"KEY": "value"}, or Docker's ["KEY=value"].
func (d *decoder) env(path string, value json.RawMessage) map[string]string {
	env := map[string]string{}
	if kind(value) == '[' {
		for i, item := range d.array(path, value) {
			key, text, found := strings.Cut(d.text(index(path, i), item), "=")
			if !found {
				d.errs.add(index(path, i), `must have the form "KEY=value"`)
			} else if _, twice := env[key]; twice {
				d.errs.addf(index(path, i), "%s is given twice", key)
			} else {
				d.setEnv(env, index(path, i), key, text)
			}
		}
	} else {
		given := d.texts(path, value)
		for _, key := range slices.Sorted(maps.Keys(given)) {
			d.setEnv(env, join(path, key), key, given[key])
		}
	}
	if len(env) == 0 {
		return nil
	}
	return env
}

func (d *decoder) setEnv(env map[string]string, path, key, value string) {
	if key == "" || strings.ContainsAny(key, "=\x00") {
		d.errs.addf(path, "%q is not the name of a variable", key)
		return
	}
	env[key] = value
}

// user reads a name or a number, and a group behind a colon if there is one.
func (d *decoder) user(path string, value json.RawMessage) string {
	text := d.word(path, value)
	user, group, both := strings.Cut(text, ":")
	if text != "" && (user == "" || both && group == "" || strings.ContainsAny(text, " \t\r\n/") || strings.Contains(group, ":")) {
		d.errs.addf(path, `must have the form "user" or "user:group", is %q`, text)
	}
	return text
}

func (d *decoder) workingDir(at string, value json.RawMessage) string {
	dir := d.word(at, value)
	if dir != "" && !path.IsAbs(dir) {
		d.errs.addf(at, `must begin with "/", is %q`, dir)
	}
	return dir
}

func (d *decoder) labels(path string, value json.RawMessage) map[string]string {
	labels := d.texts(path, value)
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		switch {
		case key == "":
			d.errs.add(path, "a label's name must not be empty")
		case strings.HasPrefix(key, ownLabels):
			d.errs.addf(join(path, key), "labels whose name begins with %q are Dokkaa's own", ownLabels)
		case strings.ContainsRune(key, 0):
			d.errs.add(path, "a label's name must not contain a NUL character")
		}
	}
	return labels
}

// maxHostname is Linux's.
const maxHostname = 64

func (d *decoder) hostname(path string, value json.RawMessage) string {
	name := d.word(path, value)
	if len(name) > maxHostname {
		d.errs.addf(path, "is %d characters long, at most %d are allowed", len(name), maxHostname)
	}
	for label := range strings.SplitSeq(name, ".") {
		if name != "" && (!isLabel(strings.ToLower(label)) || len(label) > maxLabel) {
			d.errs.addf(path, "%q is not a host name (letters, digits, hyphens and dots)", name)
			break
		}
	}
	return name
}

// containerPath reads the path of something that is put into the container's file system.
func (d *decoder) containerPath(at string, value json.RawMessage) string {
	file := d.word(at, value)
	switch {
	case file == "":
	case !path.IsAbs(file):
		d.errs.addf(at, `must begin with "/", is %q`, file)
	case path.Clean(file) != file:
		d.errs.addf(at, "must be %q, is %q", path.Clean(file), file)
	case file == "/":
		d.errs.add(at, "must not be the root of the container's file system")
	case strings.ContainsFunc(file, func(r rune) bool { return r < ' ' || r == 0x7f }):
		d.errs.add(at, "must not contain control characters")
	}
	for _, dir := range []string{"/proc", "/sys", "/dev"} {
		if inside(file, dir) {
			d.errs.addf(at, "must not be in %s, which is the kernel's", dir)
		}
	}
	return file
}

// inside tells whether the path is dir or something in it.
func inside(file, dir string) bool {
	rest, found := strings.CutPrefix(file, dir)
	return found && (rest == "" || rest[0] == '/')
}
