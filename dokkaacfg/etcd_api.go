package dokkaacfg

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/dokkaacfg/membership"
)

// etcdPatience is longer than etcd itself waits for a majority.
const etcdPatience = 10 * time.Second

// etcdAPI is etcd itself, at those of its members that may run.
type etcdAPI struct {
	members []netip.Addr
	doors   doors
	dial    dialFunc
}

// refusedError is what etcd says where it does not do what it was asked.
type refusedError struct{ says string }

func (e refusedError) Error() string { return e.says }

// list returns the members that a majority knows.
func (e etcdAPI) list(ctx context.Context) ([]membership.Member, error) {
	var reply struct {
		Members []struct {
			ID        string
			Name      string // empty until it has been started
			PeerURLs  []string
			IsLearner bool
		}
	}
	if err := e.ask(ctx, "list", map[string]any{"linearizable": true}, &reply); err != nil {
		return nil, fmt.Errorf("list etcd's members: %w", err)
	}
	var all []membership.Member
	for _, m := range reply.Members {
		host, err := hostOfPeer(m.PeerURLs)
		if err != nil {
			return nil, fmt.Errorf("list etcd's members: %w", err)
		}
		all = append(all, membership.Member{ID: m.ID, Host: host, Started: m.Name != "", Learner: m.IsLearner})
	}
	slices.SortFunc(all, func(a, b membership.Member) int { return a.Host.Compare(b.Host) })
	return all, nil
}

func hostOfPeer(urls []string) (netip.Addr, error) {
	for _, text := range urls {
		if u, err := url.Parse(text); err == nil {
			if host, err := netip.ParseAddr(u.Hostname()); err == nil {
				return host, nil
			}
		}
	}
	return netip.Addr{}, fmt.Errorf("a member has no address, but %q", urls)
}

// addLearner adds a member without a vote.
func (e etcdAPI) addLearner(ctx context.Context, host netip.Addr) error {
	if err := e.ask(ctx, "add", map[string]any{"peerURLs": []string{e.doors.peer(host)}, "isLearner": true}, nil); err != nil {
		return fmt.Errorf("add etcd member %s: %w", host, err)
	}
	return nil
}

// promote gives a learner a vote. It is refused until the learner has caught up.
func (e etcdAPI) promote(ctx context.Context, m membership.Step) error {
	if err := e.ask(ctx, "promote", map[string]any{"ID": m.ID}, nil); err != nil {
		return fmt.Errorf("promote etcd member %s: %w", m.Host, err)
	}
	return nil
}

// remove removes a member, which ends for good. It is asked last itself: it may not come to answer.
func (e etcdAPI) remove(ctx context.Context, m membership.Step) error {
	e.members = append(others(m.Host, e.members), m.Host)
	if err := e.ask(ctx, "remove", map[string]any{"ID": m.ID}, nil); err != nil {
		return fmt.Errorf("remove etcd member %s: %w", m.Host, err)
	}
	return nil
}

// ask sends a request to one member after the other until one answers.
func (e etcdAPI) ask(ctx context.Context, what string, question, reply any) error {
	ctx, cancel := context.WithTimeout(ctx, etcdPatience)
	defer cancel()
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	client := e.doors.toEtcd(e.dial)
	defer client.CloseIdleConnections()
	var failures []error
	for _, member := range e.members {
		failed, err := askMember(ctx, client, e.doors.member(member)+"/v3/cluster/member/"+what, body, reply)
		if !failed {
			return err
		}
		failures = append(failures, err)
	}
	if len(failures) == 0 {
		return errors.New("no host has a member of etcd")
	}
	return errors.Join(failures...)
}

// askMember asks a member. It failed where it gave no answer.
func askMember(ctx context.Context, client *http.Client, target string, body []byte, reply any) (failed bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return true, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return true, fmt.Errorf("%s: %w", target, err)
	}
	if resp.StatusCode == http.StatusOK {
		if reply == nil {
			return false, nil
		}
		return false, json.Unmarshal(answer, reply)
	}
	var says struct{ Error string }
	if json.Unmarshal(answer, &says) != nil || says.Error == "" {
		return true, fmt.Errorf("%s: %s", target, resp.Status)
	}
	// Without a leader, or asked of one that is no member: others may know better.
	failed = resp.StatusCode >= http.StatusInternalServerError
	return failed, refusedError{strings.TrimPrefix(says.Error, "etcdserver: ")}
}

// answers tells whether a member is there at all, with or without a majority.
func (e etcdAPI) answers(ctx context.Context, member netip.Addr) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client := e.doors.toEtcd(e.dial)
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.doors.member(member)+"/health?serializable=true", http.NoBody)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return true
}

// memberStatus is what a member says by itself: how much it knows, whom it follows, and what it holds.
type memberStatus struct {
	Term    uint64   `json:"raftTerm,string"`
	Index   uint64   `json:"raftIndex,string"`
	Leader  string   `json:"leader"` // its id, "0" for none
	Version string   `json:"version"`
	Size    int64    `json:"dbSize,string"` // of its file, in bytes
	Errors  []string `json:"errors"`        // that it goes on complaining of
}

// status asks a member how much it knows, which needs no majority.
func (e etcdAPI) status(ctx context.Context, member netip.Addr) (status memberStatus, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client := e.doors.toEtcd(e.dial)
	defer client.CloseIdleConnections()
	_, err = askMember(ctx, client, e.doors.member(member)+"/v3/maintenance/status", []byte("{}"), &status)
	return status, err
}
