package manifest

import (
	"encoding/json"
	"regexp"
	"strings"
)

// operators in the order in which a text is searched for them: the longer ones first.
var operators = []Operator{Equal, NotEqual, LessOrEqual, GreaterOrEqual, Matches, Less, Greater, "=", IsNotSet, IsSet}

const (
	hostLabels    = "host.labels."
	maxConditions = 50
	maxValue      = 200 // bytes of a value to compare with
)

// constraint reads "host.labels.disk == ssd", or an object.
func (d *decoder) constraint(path string, value json.RawMessage) Condition {
	if kind(value) == '"' {
		return d.conditionText(path, value)
	}
	var c Condition
	known := d.conditionFields(&c)
	d.checkCondition(path, value, &c, d.read(path, value, known))
	return c
}

// affinity reads a condition with a weight; the short form has the default one.
func (d *decoder) affinity(path string, value json.RawMessage) Affinity {
	a := Affinity{Weight: DefaultPreference}
	if kind(value) == '"' {
		a.Condition = d.conditionText(path, value)
		return a
	}
	known := d.conditionFields(&a.Condition)
	known["weight"] = into(&a.Weight, d.between(-100, 100))
	d.checkCondition(path, value, &a.Condition, d.read(path, value, known))
	if a.Weight == 0 {
		d.errs.add(join(path, "weight"), "must not be 0, which is no preference")
	}
	return a
}

func (d *decoder) conditionFields(c *Condition) fields {
	return fields{
		"attribute": into(&c.Attribute, d.attribute),
		"operator":  into(&c.Operator, d.operator),
		"value":     into(&c.Value, d.text),
	}
}

func (d *decoder) operator(path string, value json.RawMessage) Operator {
	return oneOf(d, operators...)(path, value).canonical()
}

// canonical is the operator, of those that are the same.
func (o Operator) canonical() Operator {
	if o == "=" {
		return Equal
	}
	return o
}

func (d *decoder) checkCondition(path string, value json.RawMessage, c *Condition, given map[string]bool) {
	d.require(path, value, given, "attribute", "operator")
	if d.errs.sound(path) {
		d.comparable(join(path, "value"), *c, given["value"])
	}
}

// conditionText reads "host.labels.disk == ssd" or "host.labels.gpu is_set".
func (d *decoder) conditionText(path string, value json.RawMessage) Condition {
	text := strings.TrimSpace(d.text(path, value))
	end := strings.IndexFunc(text, func(r rune) bool { return !isAttributeRune(r) })
	if end < 0 {
		end = len(text)
	}
	c := Condition{Attribute: text[:end]}
	rest := strings.TrimSpace(text[end:])
	for _, operator := range operators {
		if after, found := strings.CutPrefix(rest, string(operator)); found {
			c.Operator, c.Value = operator.canonical(), strings.TrimSpace(after)
			break
		}
	}
	if d.errs.has(path) {
		return c
	}
	if c.Operator == "" || c.Attribute == "" {
		d.errs.addf(path, `must have the form "host.labels.disk == ssd", is %q`, text)
		return c
	}
	d.checkAttribute(path, c.Attribute)
	d.comparable(path, c, c.Value != "")
	return c
}

// comparable checks the value against the operator.
func (d *decoder) comparable(path string, c Condition, hasValue bool) {
	switch {
	case c.Operator == IsSet || c.Operator == IsNotSet:
		if hasValue {
			d.errs.addf(path, "%s compares with no value", c.Operator)
		}
	case c.Value == "":
		d.errs.addf(path, "%s needs a value to compare with; a label that a host lacks is found by is_not_set", c.Operator)
	case len(c.Value) > maxValue:
		d.errs.addf(path, "is %d bytes long, at most %d are allowed", len(c.Value), maxValue)
	case c.Operator == Matches:
		if _, err := regexp.Compile(c.Value); err != nil {
			d.errs.addf(path, "is not a regular expression: %v", err)
		}
	}
}

func (d *decoder) attribute(path string, value json.RawMessage) string {
	attribute := d.text(path, value)
	if !d.errs.has(path) {
		d.checkAttribute(path, attribute)
	}
	return attribute
}

func (d *decoder) checkAttribute(path, attribute string) {
	label, isLabel := strings.CutPrefix(attribute, hostLabels)
	switch {
	case attribute == "host.ip" || attribute == "host.arch":
	case !isLabel || label == "":
		d.errs.addf(path, "%q is not an attribute of hosts (host.ip, host.arch, host.labels.<label>)", attribute)
	case strings.ContainsFunc(label, func(r rune) bool { return !isAttributeRune(r) }):
		d.errs.addf(path, "%q is not the name of a label (letters, digits, and . _ / -)", label)
	}
}

func isAttributeRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._/-", r)
}

// spread reads an attribute, or an object with its weight.
func (d *decoder) spread(path string, value json.RawMessage) Spread {
	s := Spread{Weight: DefaultPreference}
	if kind(value) == '"' {
		s.Attribute = d.attribute(path, value)
		return s
	}
	given := d.read(path, value, fields{
		"attribute": into(&s.Attribute, d.attribute),
		"weight":    into(&s.Weight, d.between(1, 100)),
	})
	d.require(path, value, given, "attribute")
	return s
}

// neighbours reads names of other containers of the app.
func (d *decoder) neighbours(path string, value json.RawMessage) []string {
	names := list(d, maxEntries, func(path string, value json.RawMessage) string {
		name := d.text(path, value)
		if !d.errs.has(path) {
			d.errs.checkName(path, name, reservedNames)
		}
		return name
	})(path, value)
	d.distinct(path, names)
	return names
}

// distinct finds what stands twice in a list.
func (d *decoder) distinct(path string, items []string) {
	seen := map[string]bool{}
	for i, item := range items {
		if seen[item] && item != "" {
			d.errs.addf(index(path, i), "%q is given twice", item)
		}
		seen[item] = true
	}
}

// dependencies reads containers that this one waits for.
func (d *decoder) dependencies(path string, value json.RawMessage) []Dependency {
	dependencies := list(d, maxEntries, d.dependency)(path, value)
	names := make([]string, len(dependencies))
	for i, dependency := range dependencies {
		names[i] = dependency.Container
	}
	d.distinct(path, names)
	return dependencies
}

// dependency reads "name", "app/name", or {"container": …, "condition": …}.
func (d *decoder) dependency(path string, value json.RawMessage) Dependency {
	container := func(path string, value json.RawMessage) string {
		name := d.text(path, value)
		if !d.errs.has(path) {
			d.inApp(path, name, reservedNames)
		}
		return name
	}
	dependency := Dependency{Condition: DependencyHealthy}
	if kind(value) == '"' {
		dependency.Container = container(path, value)
		return dependency
	}
	given := d.read(path, value, fields{
		"container": into(&dependency.Container, container),
		"condition": into(&dependency.Condition, oneOf(d, DependencyHealthy, DependencyStarted, DependencyCompleted)),
	})
	d.require(path, value, given, "container")
	return dependency
}
