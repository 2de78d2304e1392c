package dokkaacfg

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
)

func TestStats(t *testing.T) {
	c := logsCluster(t, func(w http.ResponseWriter, r *http.Request) {
		if what := r.PathValue("what"); what != "stats" {
			t.Errorf("asked for %s", what)
		}
		if r.PathValue("ip") == "10.101.0.2" {
			http.Error(w, "Docker does not answer", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, `{"cpus": 0.254, "memory": 1572864, "memory_limit": 268435456, "received": 900, "sent": 20480, "processes": 3}`)
	})
	const want = `INSTANCE     HOST        CPUS  MEMORY  OF    RECEIVED  SENT  PROCESSES
dummy/web 1  10.101.0.1  0.25  1.5m    256m  900       20k   3
`
	out, err := c.run("", "stats", "dummy")
	if out != want || err == nil || err.Error() != "read the stats of dummy/web 2 on host 10.101.0.2: 503 Service Unavailable: Docker does not answer" {
		t.Errorf("it says\n%s\n%v", out, err)
	}
	var usages []instanceUsage
	out, _ = c.run("", "stats", "-o", "json") // the same host fails
	if err := json.Unmarshal([]byte(out), &usages); err != nil || len(usages) != 1 || usages[0].CPUs != 0.254 || usages[0].Instance != "i1" {
		t.Errorf("as JSON: %+v, %v", usages, err)
	}
	c.fails("there is nothing of none", "stats", "none")
}
