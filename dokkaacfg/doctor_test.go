package dokkaacfg

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"
)

func TestJudgements(t *testing.T) {
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	running := dockerclient.State{Running: true, StartedAt: now}
	ill := running
	ill.Health = dockerclient.Health{Status: "unhealthy", Log: []dockerclient.HealthCheck{{Output: "connection refused\n"}}}
	at := func(ahead, doubt time.Duration) *patient {
		return &patient{host: fakeMachine{"10.0.0.1"}, reached: true, ahead: ahead, doubt: doubt, versions: map[string]string{"gateway": ahead.String()}}
	}
	for name, test := range map[string]struct {
		found finding
		state checkState
		says  string
	}{
		"daemon":            {examineDaemon("skydns", &dockerclient.Container{State: running}), checkOK, "runs since 2026-01-02 15:04:05"},
		"no daemon":         {examineDaemon("skydns", nil), checkWrong, "no container"},
		"stopped":           {examineDaemon("skydns", &dockerclient.Container{}), checkWrong, "does not run"},
		"starts for ever":   {examineDaemon("skydns", &dockerclient.Container{RestartCount: 4, State: dockerclient.State{Running: true, Restarting: true, ExitCode: 2}}), checkWrong, "started 5 times, last exit code 2"},
		"restarted":         {examineDaemon("skydns", &dockerclient.Container{RestartCount: 1, State: running}), checkNote, "started again 1 time"},
		"unhealthy":         {examineDaemon("skydns", &dockerclient.Container{State: ill}), checkWrong, "not healthy: connection refused"},
		"room":              {examineRoom("disk", "free", 1<<34, 1<<30, 1<<32, "x"), checkOK, "16.0 GiB free"},
		"little room":       {examineRoom("disk", "free", 1<<31, 1<<30, 1<<32, "x"), checkNote, "2.0 GiB free"},
		"no room":           {examineRoom("disk", "free", 1<<20, 1<<30, 1<<32, "x"), checkWrong, "0.0 GiB free"},
		"loopback":          {examineListeners([]string{"0100007F:0FA2", "00000000000000000000000001000000:0FA3", "0000000000000000FFFF00000100007F:0947", "00000000:0016"}), checkOK, ""},
		"open to all":       {examineListeners([]string{"00000000:0947", "0100007F:0FA2"}), checkWrong, "2375 (Docker)"},
		"open in IPv6":      {examineListeners([]string{"00000000000000000000000000000000:0FA2"}), checkWrong, "4002 (conductor)"},
		"certificate":       {examineEnd("certificates", "a.pem", now.AddDate(1, 0, 0), now), checkOK, "ends at 2027"},
		"ends soon":         {examineEnd("certificates", "a.pem", now.AddDate(0, 1, 0), now), checkNote, "a.pem ends at 2026-02-02"},
		"ended":             {examineEnd("certificates", "a.pem", now.AddDate(0, 0, -1), now), checkWrong, "a.pem has ended"},
		"no certificate":    {examineEnd("certificates", "", time.Time{}, now), checkWrong, "none"},
		"clocks":            {compareClocks([]*patient{at(0, time.Millisecond), at(time.Second, time.Millisecond)}), checkOK, "within"},
		"clocks apart":      {compareClocks([]*patient{at(-time.Second, time.Millisecond), at(time.Second, time.Millisecond)}), checkWrong, "2s ahead"},
		"clocks in doubt":   {compareClocks([]*patient{at(-time.Second, time.Second), at(time.Second, time.Second)}), checkOK, "within"},
		"one version":       {compareVersions([]*patient{at(0, 1), at(0, 1)}), checkOK, "all daemons are of 0s"},
		"two versions":      {compareVersions([]*patient{at(0, 1), at(1, 1)}), checkNote, "0s on 10.0.0.1; 1ns on 10.0.0.1"},
		"service":           {judgeAnswer("names", noService, &net.DNSError{IsNotFound: true}), checkOK, ""},
		"no nameserver":     {judgeAnswer("names", noService, &net.DNSError{Err: "refused", Server: "192.0.2.1"}), checkWrong, "does not answer: refused"},
		"no foreign name":   {judgeAnswer("foreign names", foreign, &net.DNSError{Err: "no such host", IsNotFound: true}), checkNote, "no such host"},
		"member":            {judgeMember(memberStatus{Leader: "1", Version: "3.5.1"}, nil), checkOK, "version 3.5.1"},
		"member is away":    {judgeMember(memberStatus{}, errors.New("refused")), checkWrong, "refused"},
		"no leader":         {judgeMember(memberStatus{Leader: "0", Errors: []string{"no leader"}}, nil), checkWrong, "knows no leader"},
		"alarm":             {judgeMember(memberStatus{Leader: "1", Errors: []string{"NOSPACE"}}, nil), checkWrong, "NOSPACE"},
		"much in the store": {judgeMember(memberStatus{Leader: "1", Size: 3 << 29}, nil), checkNote, "1536.0 MiB of 2048"},
	} {
		if test.found.State != test.state || !strings.Contains(test.found.Says, test.says) {
			t.Errorf("%s: %+v", name, test.found)
		}
		if test.state != checkOK && test.found.Do == "" {
			t.Errorf("%s: it does not say what to do: %+v", name, test.found)
		}
	}
}

// fakeMachine is a host that is no more than an address.
type fakeMachine struct{ ip string }

func (f fakeMachine) IP() netip.Addr     { return netip.MustParseAddr(f.ip) }
func (f fakeMachine) DockerHost() string { return "" }

// What is to do is said once, with the hosts that it is to be done on.
func TestFindingsText(t *testing.T) {
	one := wrong("docker", "refused", "start it")
	two := one
	one.Host, two.Host = "10.0.0.1", "10.0.0.2"
	got := findingsText([]finding{fine("etcd", "3 members"), one, two})
	for _, line := range []string{"cluster   etcd    ok     3 members", "10.0.0.1  docker  wrong  refused", "\nWhat to do:\n  docker (10.0.0.1, 10.0.0.2): start it\n"} {
		if !strings.Contains(got, line) {
			t.Errorf("%q is not in\n%s", line, got)
		}
	}
}
