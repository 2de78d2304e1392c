package dokkaacfg

import (
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/store"
)

func eventNodes() []store.Node {
	return []store.Node{
		{Key: "/dokkaa/events/00000000000000000007", Value: `{"time": "2026-11-21T12:00:00.1Z", "kind": "scheduler", "host": "10.101.0.1", "reason": "schedules now"}`},
		{Key: "/dokkaa/events/00000000000000000008", Value: `{"time": "2026-11-21T12:00:02Z", "kind": "assigned", "host": "10.101.0.2", "app": "dummy", "name": "nginx", "slot": 1, "instance": "i1", "reason": "new slot: on 10.101.0.2", "future": 1}`},
		{Key: "/dokkaa/events/00000000000000000009", Value: `{"time": "2026-11-21T12:00:01Z", "kind": "refused", "app": "dummy", "name": "typo", "reason": "image: required"}`},
		{Key: "/dokkaa/events/00000000000000000010", Value: `{"time": "2026-11-21T12:01:00Z", "kind": "failed", "host": "10.101.0.2", "app": "dummy", "name": "nginx", "slot": 1, "reason": "exited\nwith \u001b[31mcode 1"}`},
		{Key: "/dokkaa/events/00000000000000000011", Value: `{"time": "2026-11-21T12:02:00Z", "kind": "healthy", "host": "10.101.0.1", "app": "other", "name": "nginx", "slot": 12, "left_out": 44}`},
		{Key: "/dokkaa/events/00000000000000000012", Value: `{"time": "2026-11-21T12:02:30Z", "kind": "host lost", "host": "10.101.0.1", "reason": "its lease ended"}`},
		{Key: "/dokkaa/events/by hand", Value: `hello`},
	}
}

func TestEventsText(t *testing.T) {
	zone := time.FixedZone("", 3600)
	for name, p := range map[string]eventPrinter{
		"all":          {},
		"of an app":    {app: "dummy"},
		"of container": {app: "other", name: "nginx"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			p.out, p.zone = &out, zone
			if err := p.past(eventNodes()); err != nil {
				t.Fatal(err)
			}
			golden(t, "events_"+strings.ReplaceAll(name, " ", "_")+".txt", out.String())
		})
	}
}
