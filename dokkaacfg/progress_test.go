package dokkaacfg

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"
)

// work is what a command tells of, with times that a bubble gives.
func work(p *progress) {
	p.title("Cluster web: %d hosts", 2)
	step := p.step("10.0.0.1", "images")
	step.doing("dokkaa/etcd:latest")
	time.Sleep(1200 * time.Millisecond)
	step.sent(500, 1000)
	step.done("5 loaded")
	step.end(nil)
	p.say("nothing is open")
	p.quote("{\n}\n")
	failing := p.step("10.0.0.2", "images")
	failing.end(errors.New("no space left"))
	time.Sleep(time.Second)
	p.done("hosts: 10.0.0.1")
}

func TestProgressInLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		work(newProgress(&out))
		const want = `
== Cluster web: 2 hosts
   host 10.0.0.1: 5 loaded (1.2s)
   nothing is open
     | {
     | }
   hosts: 10.0.0.1 (2.2s)
`
		if out.String() != want {
			t.Errorf("got\n%s\nwant\n%s", out.String(), want)
		}
	})
}

// Each event is an object of its own, and so is each line that is written in between.
func TestProgressAsJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := newInvocation(strings.NewReader(""), &out, &out)
		cmd := new(cobra.Command)
		progressFlag(cmd)
		if err := cmd.Flags().Set(jsonFlag, "true"); err != nil {
			t.Fatal(err)
		}
		end := p.showing(cmd)
		work(newProgress(p.out))
		fmt.Fprint(p.out, "To be removed: ")
		fmt.Fprint(p.out, "x & y\n\nasks")
		end(errors.New("host 10.0.0.2: no space left"))
		const want = `{"time":"%[1]sZ","state":"title","detail":"Cluster web: 2 hosts"}
{"time":"%[1]sZ","host":"10.0.0.1","step":"images","state":"running"}
{"time":"%[1]sZ","host":"10.0.0.1","step":"images","state":"running","detail":"dokkaa/etcd:latest"}
{"time":"%[2]sZ","host":"10.0.0.1","step":"images","state":"done","detail":"5 loaded","seconds":1.2}
{"time":"%[2]sZ","host":"10.0.0.1","step":"images","state":"ended"}
{"time":"%[2]sZ","state":"note","detail":"nothing is open"}
{"time":"%[2]sZ","state":"note","detail":"  | {"}
{"time":"%[2]sZ","state":"note","detail":"  | }"}
{"time":"%[2]sZ","host":"10.0.0.2","step":"images","state":"running"}
{"time":"%[2]sZ","host":"10.0.0.2","step":"images","state":"failed","detail":"no space left"}
{"time":"%[3]sZ","state":"done","detail":"hosts: 10.0.0.1","seconds":2.2}
{"time":"%[3]sZ","state":"note","detail":"To be removed: x & y"}
{"time":"%[3]sZ","state":"note","detail":"asks"}
{"time":"%[3]sZ","state":"failed","detail":"host 10.0.0.2: no space left"}
`
		if want := fmt.Sprintf(want, "2000-01-01T00:00:00", "2000-01-01T00:00:01.2", "2000-01-01T00:00:02.2"); out.String() != want {
			t.Errorf("got\n%s\nwant\n%s", out.String(), want)
		}
		for line := range strings.Lines(out.String()) {
			var e progressEvent
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
	})
}

func TestJSONAsksNobody(t *testing.T) {
	p := &fakeProvider{left: []string{"x"}}
	s, out := newSession(t, p, "test\n")
	s.out = &jsonLines{out: out}
	if err := new(downCommand).Run(t.Context(), s); err == nil || !strings.Contains(err.Error(), "--yes") || p.downs != 0 {
		t.Errorf("down says %v", err)
	}
}

func TestRunningStepFitsTheWidth(t *testing.T) {
	r := runningStep{paint: func(_, text string) string { return text }, label: "host 10.0.0.1: images", detail: "dokkaa/ambassador:latest", sent: 3 << 20, of: 6 << 20}
	for width, want := range map[int]string{
		0: "", 1: "", 2: "| ", 12: "|  host 10.0", 78: "|  host 10.0.0.1: images: dokkaa/ambassador:latest [============            ] ",
		200: "|  host 10.0.0.1: images: dokkaa/ambassador:latest [============            ] 3.1 MB of 6.3 MB",
	} {
		if got := r.draw(width); got != want {
			t.Errorf("in %d columns\n%q, want\n%q", width, got, want)
		}
	}
}
