package conductor

import (
	"fmt"
	"testing"
)

func TestFixedHosts(t *testing.T) {
	t.Parallel()
	s := Settings{HostIP: "10.0.0.2", EtcdAddr: []string{"http://127.0.0.1:4001", "https://10.0.0.3:4001/", " 10.0.0.1:4001",
		"10.0.0.2:4001", "etcd.example:4001", "http://[fd00::1]:4001"}}
	if got := fmt.Sprint(s.fixedHosts()); got != "[10.0.0.1 10.0.0.2 10.0.0.3]" {
		t.Errorf("the hosts that the settings name are %s", got)
	}
}
