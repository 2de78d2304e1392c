package answer

import "github.com/dokkaa/dokkaa/skydns/zone"

const (
	defaultWeight = 100
	maxPercent    = 100
)

// shares turns the weights of services into SRV weights: each one's percentage of its priority's
// sum, rounded down, but at least 1, since clients hardly ever choose a 0. A service without a
// weight counts as one of 100.
func shares(services []*zone.Record, priority func(*zone.Record) uint16) []uint16 {
	sums := make(map[uint16]int, 1)
	for _, s := range services {
		sums[priority(s)] += weight(s)
	}
	percents := make([]uint16, len(services))
	for i, s := range services {
		percents[i] = uint16(max(1, maxPercent*weight(s)/sums[priority(s)]))
	}
	return percents
}

func weight(s *zone.Record) int {
	if s.Weight == 0 {
		return defaultWeight
	}
	return s.Weight
}
