//go:build faults

package e2e

import "slices"

// untouched holds that the instances from before run on, not started anew, and nothing beside
// them but further instances of the named containers.
func (c *cluster) untouched(before []instance, but ...string) {
	c.t.Helper()
	now := c.instances("")
	for _, i := range before {
		if !slices.Contains(now, i) {
			c.t.Errorf("%+v does not run any more; what does: %+v", i, now)
		}
	}
	for _, i := range now {
		if !slices.Contains(before, i) && !slices.Contains(but, i.of) {
			c.t.Errorf("%+v runs now and did not before", i)
		}
	}
}

// without are the instances that are not on the host and not of the named containers.
func without(all []instance, host int, names ...string) []instance {
	return slices.DeleteFunc(slices.Clone(all), func(i instance) bool {
		return i.host == host || slices.Contains(names, i.of)
	})
}
