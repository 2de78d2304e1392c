package dokkaacfg

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// glanceTimeout is how long status waits for what does not answer.
const glanceTimeout = 2 * time.Second

// trouble is what the keys do not tell of: they are read through whichever gateway answers.
func (s *session) trouble(ctx context.Context, hosts []Host) (found []string) {
	ctx, cancel := context.WithTimeout(ctx, glanceTimeout)
	defer cancel()
	dial := dialTo(hosts)
	etcd := etcdAPI{doors: s.doors, dial: dial}
	var mu sync.Mutex
	var group sync.WaitGroup
	tell := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		found = append(found, fmt.Sprintf(format, args...))
	}
	for _, host := range hosts {
		group.Go(func() {
			gateway := strings.TrimPrefix(strings.TrimPrefix(s.doors.gateway(host.IP()), "https://"), "http://")
			if err := connects(ctx, dial, gateway); err != nil {
				tell("host %s: its gateway does not answer", host.IP())
			}
		})
		etcd.members = append(etcd.members, host.IP())
	}
	group.Go(func() {
		members, err := etcd.list(ctx)
		if err != nil {
			return // that the keys were read says more
		}
		for _, m := range members {
			group.Go(func() {
				switch {
				case m.Learner:
					tell("etcd: %s learns, and has no vote yet; dokkaacfg up goes on", m.Host)
				case !etcd.answers(ctx, m.Host):
					tell("etcd: member %s does not answer", m.Host)
				}
			})
		}
	})
	group.Wait()
	slices.Sort(found)
	return found
}

// troubleText is what is wrong beside the hosts and containers, and where to read on.
func (r report) troubleText() string {
	var text strings.Builder
	for _, t := range r.Trouble {
		text.WriteString(t + "\n")
	}
	ill := len(r.Trouble) > 0 || r.Scheduler.Host == "" || slices.ContainsFunc(r.Hosts, func(h hostReport) bool { return h.State != hostReady })
	if ill {
		text.WriteString("dokkaacfg doctor looks at each host, and says what to do.\n")
	}
	return text.String()
}
