package answer

import (
	"math"
	"slices"
	"strings"

	"github.com/dokkaa/dokkaa/skydns/zone"
)

// inGroup returns the records that are meant for who asks for all of them. Those nearest to the
// asked name that have a group say which group that is: records of other groups, deeper down, are
// left out, while those without a group are always in. Where the nearest ones disagree, groups do
// not count. It changes records.
func inGroup(records []*zone.Record) []*zone.Record {
	group, least := "", math.MaxInt
	for _, r := range records {
		if r.Group == "" {
			continue
		}
		depth := strings.Count(r.Key, "/")
		switch {
		case depth < least:
			group, least = r.Group, depth
		case depth == least && r.Group != group:
			group = "" // as long as nothing nearer has one
		}
	}
	if group == "" {
		return records
	}
	return slices.DeleteFunc(records, func(r *zone.Record) bool { return r.Group != "" && r.Group != group })
}
