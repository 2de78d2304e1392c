package placement

import (
	"cmp"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/dokkaa/dokkaa/manifest"
)

// condition is a manifest.Condition, compiled.
type condition struct {
	attribute string
	operator  manifest.Operator
	value     string
	number    float64
	isNumber  bool
	pattern   *regexp.Regexp
}

func newCondition(c manifest.Condition) condition {
	out := condition{attribute: c.Attribute, operator: c.Operator, value: c.Value}
	out.number, out.isNumber = number(c.Value)
	if c.Operator == manifest.Matches {
		// What does not compile was never accepted; it is met by nothing.
		out.pattern, _ = regexp.Compile(c.Value)
	}
	return out
}

// met tells whether a host meets the condition.
func (c *condition) met(h Host) bool {
	value, isSet := h.attribute(c.attribute)
	switch c.operator {
	case manifest.Equal:
		return value == c.value
	case manifest.NotEqual:
		return value != c.value
	case manifest.Less:
		return c.compare(value) < 0
	case manifest.LessOrEqual:
		return c.compare(value) <= 0
	case manifest.Greater:
		return c.compare(value) > 0
	case manifest.GreaterOrEqual:
		return c.compare(value) >= 0
	case manifest.Matches:
		return c.pattern != nil && c.pattern.MatchString(value)
	case manifest.IsSet:
		return isSet
	case manifest.IsNotSet:
		return !isSet
	}
	return false
}

// compare orders a host's value and the condition's: as numbers if both are, else as text.
func (c *condition) compare(value string) int {
	if n, ok := number(value); ok && c.isNumber {
		return cmp.Compare(n, c.number)
	}
	return cmp.Compare(value, c.value)
}

func number(s string) (float64, bool) {
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil && !math.IsNaN(n)
}

// attribute is what conditions and spreads look at. A label that the host does not have is "".
func (h Host) attribute(name string) (value string, isSet bool) {
	switch name {
	case "host.ip":
		return h.IP, h.IP != ""
	case "host.arch":
		return h.Arch, h.Arch != ""
	}
	if label, ok := strings.CutPrefix(name, "host.labels."); ok {
		value, isSet = h.Labels[label]
	}
	return value, isSet
}
