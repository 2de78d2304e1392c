package manifest

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// FileMode is the permissions of a file, in JSON an octal number as text: "0400".
type FileMode int

// MarshalJSON writes the mode as chmod takes it.
func (m FileMode) MarshalJSON() ([]byte, error) { return json.Marshal(fmt.Sprintf("%04o", int(m))) }

// source names a secret or config. The first character keeps names out of the keys that etcd hides.
var source = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,127}(@[1-9][0-9]{0,8})?$`)

// ValidateSource checks the name of a secret or config of an app, as it stands in the etcd key. The
// error is an Errors.
func ValidateSource(app, name string) error {
	var errs Errors
	errs.checkName("app", app, reservedApps)
	if !source.MatchString(name) || strings.Contains(name, "@") {
		errs.add("name", fmt.Sprintf("%q is none for a secret or config (lower-case letters, digits and . _ -)", name))
	}
	return errs.orNil()
}

// secret reads a name, or an object.
func (d *decoder) secret(path string, value json.RawMessage) Secret {
	s := Secret{Mode: DefaultSecretMode}
	if kind(value) == '"' {
		s.Source = d.source(path, value)
	} else {
		given := d.read(path, value, fields{
			"source": into(&s.Source, d.source),
			"path":   into(&s.Path, d.containerPath),
			"mode":   into(&s.Mode, d.fileMode),
			"uid":    into(&s.UID, d.between(0, math.MaxInt32)),
			"gid":    into(&s.GID, d.between(0, math.MaxInt32)),
		})
		d.require(path, value, given, "source")
	}
	if name, _ := s.Versioned(); s.Path == "" && name != "" && d.errs.sound(path) {
		s.Path = SecretsDir + "/" + name
	}
	return s
}

func (d *decoder) config(path string, value json.RawMessage) Config {
	c := Config{Mode: DefaultConfigMode}
	given := d.read(path, value, fields{
		"source":  into(&c.Source, d.source),
		"content": into(&c.Content, d.word),
		"path":    into(&c.Path, d.containerPath),
		"mode":    into(&c.Mode, d.fileMode),
		"uid":     into(&c.UID, d.between(0, math.MaxInt32)),
		"gid":     into(&c.GID, d.between(0, math.MaxInt32)),
	})
	d.require(path, value, given, "path")
	switch {
	case kind(value) != '{':
	case given["source"] && given["content"]:
		d.errs.add(path, "has a source and a content; it is one or the other")
	case !given["source"] && !given["content"]:
		d.errs.add(path, "has neither a source nor a content")
	}
	return c
}

func (d *decoder) source(path string, value json.RawMessage) string {
	text := d.word(path, value)
	if text != "" && !source.MatchString(text) {
		d.errs.addf(path, `must have the form "name" or "name@version" (lower-case letters, digits and . _ -), is %q`, text)
	}
	return text
}

func (d *decoder) fileMode(path string, value json.RawMessage) FileMode {
	const form = `must be an octal number as text such as "0400", is `
	if kind(value) != '"' {
		d.errs.add(path, form+describe(value))
		return 0
	}
	mode, err := strconv.ParseUint(d.text(path, value), 8, 32)
	if err != nil {
		d.errs.add(path, form+describe(value))
		return 0
	}
	if mode > 0o777 {
		d.errs.addf(path, "must be at most 0777, is %04o", mode)
		return 0
	}
	return FileMode(mode)
}

// Versioned is the name of the secret, and its version if it is to stay at that, else 0.
func (s Secret) Versioned() (name string, version int) { return versioned(s.Source) }

// Versioned is the name of the config, and its version if it is to stay at that, else 0.
func (c Config) Versioned() (name string, version int) { return versioned(c.Source) }

func versioned(source string) (name string, version int) {
	name, text, _ := strings.Cut(source, "@")
	version, _ = strconv.Atoi(text) // no version is 0
	return name, version
}
