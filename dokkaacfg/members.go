package dokkaacfg

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// startEtcd makes sure that the first of the hosts have an etcd member each, as many as there
// should be, and returns where members are. Members that exist stay.
func (i *installation) startEtcd(ctx context.Context) ([]netip.Addr, error) {
	existing, err := i.existingMembers(ctx)
	if err != nil {
		return nil, err
	}
	wanted := i.hosts[:memberCount(len(i.hosts))]
	initial := existing.initial
	if len(existing.on) == 0 {
		initial = i.doors.initialMembers(addresses(wanted))
	}
	// Those of the first hour start together: one alone would wait for the others.
	group, groupCtx := errgroup.WithContext(ctx)
	var joining []Host
	for _, host := range wanted {
		if !slices.Contains(strings.Split(initial, ","), i.doors.initialMembers([]netip.Addr{host.IP()})) && !existing.has(host) {
			joining = append(joining, host)
			continue
		}
		group.Go(func() error { return i.run(groupCtx, host, etcdDaemon(i.cluster, host.IP(), initial, "new")) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	members := existing.on
	for _, host := range wanted {
		if !existing.has(host) {
			members = append(members, host.IP())
		}
	}
	for _, host := range joining {
		if err := i.joinEtcd(ctx, host, existing.on); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(members, netip.Addr.Compare)
	return members, nil
}

// members are the etcd members that hosts have.
type members struct {
	on      []netip.Addr
	initial string // what the first of them were started with
}

func (m members) has(host Host) bool { return slices.Contains(m.on, host.IP()) }

func (i *installation) existingMembers(ctx context.Context) (members, error) {
	var found members
	for _, host := range i.hosts {
		container, err := i.engines[host.IP()].find(ctx, etcdName)
		if err != nil {
			return members{}, err
		}
		if container == nil || !isOurs(container, etcdName) {
			continue
		}
		found.on = append(found.on, host.IP())
		if state, _ := lookup(container.Config.Env, "ETCD_INITIAL_CLUSTER_STATE"); state == "new" {
			found.initial, _ = lookup(container.Config.Env, initialCluster)
		}
	}
	return found, nil
}

// joinEtcd adds a member to the running cluster and starts it. A member that was added but not
// started, by an earlier attempt, is started only.
func (i *installation) joinEtcd(ctx context.Context, host Host, running []netip.Addr) error {
	var list []etcdMember
	etcd := etcdAPI{members: running, doors: i.doors, dial: dialTo(i.hosts)}
	err := i.until(ctx, func(ctx context.Context) (err error) {
		list, err = etcd.add(ctx, host.IP())
		return err
	})
	if err != nil {
		return fmt.Errorf("add etcd member %s: %w", host.IP(), err)
	}
	var initial []string
	for _, member := range list {
		name := member.Name
		if slices.Contains(member.PeerURLs, i.doors.peer(host.IP())) {
			name = host.IP().String()
		}
		for _, url := range member.PeerURLs {
			initial = append(initial, name+"="+url)
		}
	}
	if err := i.run(ctx, host, etcdDaemon(i.cluster, host.IP(), strings.Join(initial, ","), "existing")); err != nil {
		return err
	}
	// The next one is added only when this one counts: until then a majority hangs on it.
	return i.waitHealthy(ctx, host, etcdName)
}

// etcdMember is a member as etcd's v2 API shows it.
type etcdMember struct {
	Name     string   `json:"name"` // empty until it has been started
	PeerURLs []string `json:"peerURLs"`
}

// etcdAPI is etcd itself, at those of its members that run.
type etcdAPI struct {
	members []netip.Addr
	doors   doors
	dial    dialFunc
}

// add adds a member, if it is not one, and returns all members.
func (e etcdAPI) add(ctx context.Context, host netip.Addr) ([]etcdMember, error) {
	list, err := e.list(ctx)
	if err != nil {
		return nil, err
	}
	is := func(m etcdMember) bool { return slices.Contains(m.PeerURLs, e.doors.peer(host)) }
	if slices.ContainsFunc(list, is) {
		return list, nil
	}
	body, err := json.Marshal(etcdMember{PeerURLs: []string{e.doors.peer(host)}})
	if err != nil {
		return nil, err
	}
	if err := e.ask(ctx, http.MethodPost, body, nil); err != nil {
		return nil, err
	}
	list, err = e.list(ctx)
	if err == nil && !slices.ContainsFunc(list, is) {
		err = errors.New("etcd does not list it yet")
	}
	return list, err
}

func (e etcdAPI) list(ctx context.Context) ([]etcdMember, error) {
	var reply struct{ Members []etcdMember }
	err := e.ask(ctx, http.MethodGet, nil, &reply)
	return reply.Members, err
}

// ask sends a request to the first member that takes it.
func (e etcdAPI) ask(ctx context.Context, method string, body []byte, reply any) error {
	// Longer than etcd itself waits for a majority.
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	client := e.doors.toEtcd(e.dial)
	defer client.CloseIdleConnections()
	var failures []error
	for _, member := range e.members {
		url := e.doors.member(member) + "/v2/members"
		req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		defer resp.Body.Close()
		if resp.StatusCode/100 != 2 {
			failures = append(failures, fmt.Errorf("%s %s: %s", method, url, resp.Status))
			continue
		}
		if reply == nil {
			return nil
		}
		return json.NewDecoder(resp.Body).Decode(reply)
	}
	return errors.Join(failures...)
}
