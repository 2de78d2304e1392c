package answer

import (
	"fmt"
	"testing"

	"github.com/dokkaa/dokkaa/skydns/msg"
	"github.com/dokkaa/dokkaa/skydns/zone"
)

func TestShares(t *testing.T) {
	for _, c := range []struct{ weights, want []int }{
		{[]int{0}, []int{100}},
		{[]int{7}, []int{100}},
		{[]int{97}, []int{100}},
		{[]int{0, 0, 0}, []int{33, 33, 33}},
		{[]int{120, 100, 130}, []int{34, 28, 37}},
		{[]int{130, 80, 150}, []int{36, 22, 41}},
		{[]int{0, 300}, []int{25, 75}},
		{[]int{0, 0, 0, 0, 0, 0, 0}, []int{14, 14, 14, 14, 14, 14, 14}},
		{[]int{1, 1000}, []int{1, 99}},
	} {
		var services []*zone.Record
		for _, w := range c.weights {
			services = append(services, &zone.Record{Service: msg.Service{Weight: w}})
		}
		got := shares(services, func(*zone.Record) uint16 { return 10 })
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("weights %v give %v, want %v", c.weights, got, c.want)
		}
	}
}
