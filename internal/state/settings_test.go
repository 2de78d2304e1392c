package state

import (
	"fmt"
	"strings"
	"testing"
)

func TestHostTimesOfSettings(t *testing.T) {
	for settings, want := range map[Settings]string{
		{}:                                    "8s 2s",
		{HostTTL: "20s"}:                      "20s 2s",
		{HostTTL: "6s"}:                       "6s 2s",
		{HostRenew: "1s"}:                     "8s 1s",
		{HostTTL: "1m", HostRenew: "20s"}:     "1m0s 20s",
		{HostTTL: "2s", HostRenew: "100ms"}:   "2s 100ms",
		{HostTTL: "1s", HostRenew: "100ms"}:   "host_lease=1s: it must be whole seconds, from 2s to 1h",
		{HostTTL: "-8s"}:                      "host_lease=-8s: it must be",
		{HostTTL: "2h"}:                       "host_lease=2h0m0s: it must be",
		{HostTTL: "2500ms"}:                   "host_lease=2.5s: it must be whole seconds",
		{HostTTL: "8"}:                        "host_lease=8: it must be a duration such as 8s",
		{HostTTL: "4s"}:                       "host_lease_renew=2s: it must be at most a third of host_lease, which is 4s",
		{HostRenew: "soon"}:                   "host_lease_renew=soon: it must be a duration such as 2s",
		{HostRenew: "3s"}:                     "host_lease_renew=3s: it must be at most a third",
		{HostRenew: "0s"}:                     "host_lease_renew=0s: it must be at least 100ms",
		{HostTTL: "10s", HostRenew: "-100ms"}: "host_lease_renew=-100ms: it must be at least 100ms",
	} {
		ttl, renew, err := settings.HostTimes()
		got := fmt.Sprint(ttl, " ", renew)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%+v: %s, want %s", settings, got, want)
		}
	}
}
