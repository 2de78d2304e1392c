package dokkaacfg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// farHost is a host that is reached from itself only, with a Docker Engine that has one container.
type farHost struct {
	ip      netip.Addr
	name    string            // of the container, "" for none
	answers map[string]string // addresses that can be reached from there, and where they really are
}

func (h farHost) IP() netip.Addr     { return h.ip }
func (h farHost) DockerHost() string { return "ssh://root@" + h.ip.String() }

func (h farHost) dialThere(ctx context.Context, network, addr string) (net.Conn, error) {
	if network != "unix" {
		if h.answers[addr] == "" {
			return nil, errors.New("nobody answers")
		}
		return new(net.Dialer).DialContext(ctx, "tcp", h.answers[addr])
	}
	here, there := net.Pipe()
	server := &http.Server{Handler: http.HandlerFunc(h.docker)}
	go func() { _ = server.Serve(&oneConn{conn: there}) }() // it ends with its only connection
	return here, nil
}

// docker plays the Engine.
func (h farHost) docker(w http.ResponseWriter, r *http.Request) {
	_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	container := map[string]any{"Id": "c1", "Names": []string{"/" + h.name}, "State": "running", "Labels": map[string]string{daemonLabel: etcdName}}
	switch found := h.name != "" && (path == "containers/"+h.name+"/json" || path == "containers/c1/json"); {
	case strings.HasSuffix(r.URL.Path, "_ping"):
	case strings.HasSuffix(r.URL.Path, "version"):
		answer(w, map[string]string{"ApiVersion": "1.44", "MinAPIVersion": "1.24"})
	case path == "volumes":
		answer(w, map[string]any{"Volumes": []map[string]string{{"Name": etcdVolume}}})
	case path == "containers/json" && h.name != "":
		answer(w, []any{container})
	case path == "containers/json":
		answer(w, []any{})
	case found:
		answer(w, map[string]any{"Id": "c1", "Name": "/" + h.name, "State": map[string]any{"Running": true}, "Config": map[string]any{
			"Labels": map[string]string{daemonLabel: etcdName}, "Env": []string{"ETCD_INITIAL_CLUSTER_STATE=new", initialCluster + "=first"}}})
	default:
		http.Error(w, `{"message": "no such thing"}`, http.StatusNotFound)
	}
}

func answer(w http.ResponseWriter, what any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(what) // a client that is gone needs none
}

// oneConn is a listener with one connection.
type oneConn struct{ conn net.Conn }

func (l *oneConn) Accept() (net.Conn, error) {
	if l.conn == nil {
		return nil, net.ErrClosed
	}
	conn := l.conn
	l.conn = nil
	return conn, nil
}
func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{} }

// etcdOf plays a member that knows members on these hosts.
func etcdOf(t *testing.T, hosts ...string) (addr string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var members []map[string]any
		for n, host := range hosts {
			members = append(members, map[string]any{"ID": fmt.Sprint(n + 1), "name": host, "peerURLs": []string{"http://" + host + ":2380"}})
		}
		answer(w, map[string]any{"members": members})
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func farInstallation(t *testing.T, hosts ...Host) *installation {
	t.Helper()
	i := newInstallation(Installation{Cluster: "web", Hosts: hosts, Log: slog.New(slog.DiscardHandler)}, newProgress(t.Output()))
	if err := i.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	return i
}

// One who was killed after the member's container had given its name free left a member all the same.
func TestMemberThatWasPutAsideIsFound(t *testing.T) {
	for name, test := range map[string]struct {
		container string
		found     bool
		runs      bool
	}{
		"as usual":  {etcdName, true, true},
		"put aside": {etcdName + asideInfix + "c1", true, false},
		"none":      {"", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			ip := addrs("10.0.0.1")[0]
			found, err := farInstallation(t, farHost{ip: ip, name: test.container}).lookForEtcd(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			container := found.containers[ip]
			if (container != nil) != test.found || test.found && (container.State.Running != test.runs || found.initial != "first") {
				t.Errorf("found %+v, with first members %q", container, found.initial)
			}
			if found.formed {
				t.Error("it is said to have other daemons")
			}
		})
	}
}

// A member on a host that this machine does not know, nor reach, is lost only if our hosts do not reach it.
func TestMembersElsewhere(t *testing.T) {
	all := []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}
	etcd := etcdOf(t, all...)
	host := farHost{ip: addrs("10.0.0.1")[0], name: etcdName, answers: map[string]string{"10.0.0.1:2379": etcd, "10.0.0.2:2379": etcd}}
	for name, test := range map[string]struct {
		lost []string
		want string
	}{
		"one answers, one does not":   {nil, "10.0.0.1, 10.0.0.2"},
		"the one that answers leaves": {[]string{"10.0.0.2"}, "10.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			i := farInstallation(t, host)
			i.lost = addrs(test.lost...)
			view, _, err := i.viewMembers(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := joined(view.Hosts); got != test.want || len(view.Members) != len(all) {
				t.Errorf("hosts %s, %d members; want %s", got, len(view.Members), test.want)
			}
		})
	}
}

func joined(all []netip.Addr) string {
	var texts []string
	for _, addr := range slices.SortedFunc(slices.Values(all), netip.Addr.Compare) {
		texts = append(texts, addr.String())
	}
	return strings.Join(texts, ", ")
}
