package gateway

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
)

func TestRealEtcdBehindTheGateway(t *testing.T) {
	cluster := etcdtest.Start(t, 3)
	d := startReadyGateway(t, cluster.Endpoints()...)
	put := func(value string) error {
		status, _, body, err := d.send(d.request(http.MethodPut, "/v2/keys/test/a", formOfValue(value)))
		if err == nil && status != http.StatusOK && status != http.StatusCreated {
			err = fmt.Errorf("put %s: %d %s", value, status, body)
		}
		return err
	}
	current := func() *etcdtest.Member {
		for i, m := range d.cluster.members {
			if m == d.cluster.order()[0] {
				return cluster.Member(i)
			}
		}
		t.Fatal("no member is asked first")
		return nil
	}
	if err := put("1"); err != nil {
		t.Fatal(err)
	}

	t.Run("a long poll is kept over ten seconds", func(t *testing.T) {
		resp, err := d.client.Get(d.url + "/v2/keys/test?wait=true&recursive=true")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.Header.Get("X-Etcd-Index") == "" || resp.Header.Get("X-Etcd-Cluster-Id") == "" {
			t.Errorf("header is %v", resp.Header)
		}
		time.Sleep(11 * time.Second)
		if err := put("2"); err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		if _, err := body.ReadFrom(resp.Body); err != nil || !bytes.Contains(body.Bytes(), []byte(`"value":"2"`)) {
			t.Errorf("event is %s, %v", &body, err)
		}
	})

	for name, test := range map[string]struct{ lose, restore func(*etcdtest.Member) }{
		"killed":    {(*etcdtest.Member).Kill, (*etcdtest.Member).Restart},
		"suspended": {(*etcdtest.Member).Stop, (*etcdtest.Member).Cont},
	} {
		t.Run("a member is "+name, func(t *testing.T) {
			poll := d.startPoll("/v2/keys/test/never?wait=true")
			member := current()
			test.lose(member)
			start := time.Now()
			eventually(t, func() error { return put(name) })
			if took := time.Since(start); took > 3*3*time.Second {
				t.Errorf("a write took %v", took)
			}
			select {
			case err := <-poll:
				if err == nil {
					t.Error("poll ended as if there were an event")
				}
			case <-time.After(waitFor):
				t.Error("poll goes on")
			}
			test.restore(member)
			etcdtest.WaitFor(t, waitFor, func() error {
				for _, m := range d.cluster.members {
					if condition, err := m.state(); condition != healthy {
						return err
					}
				}
				return nil
			})
		})
	}

	t.Run("all are away and come back", func(t *testing.T) {
		for i := range 3 {
			cluster.Member(i).Stop()
		}
		eventually(t, func() error { // a process takes a moment to stop
			if status, body := d.do(http.MethodGet, "/v2/keys/test/a", ""); status != http.StatusServiceUnavailable {
				return fmt.Errorf("got %d %s", status, body)
			}
			return nil
		})
		for i := range 3 {
			cluster.Member(i).Cont()
		}
		eventually(t, func() error { return put("again") })
	})
}
