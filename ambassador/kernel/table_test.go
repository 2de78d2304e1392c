//go:build linux

package kernel

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
)

func TestLinkedContainerReachesTheInstance(t *testing.T) {
	w := newWorld(t)
	caller, stranger := w.container("172.30.0.2"), w.container("172.30.0.3")
	instance := w.instance("172.30.0.4", "shop")
	w.expect(caller, listener) // nothing is written yet
	w.apply([]Caller{w.caller(caller, "shop")}, map[string]Service{"shop": serviceOf(instance)})
	w.expect(caller, "shop")
	w.expect(stranger, listener)
}

// TestContainersDoNotReachEachOtherOtherwise: only what the table translated may pass between them.
func TestContainersDoNotReachEachOtherOtherwise(t *testing.T) {
	w := newWorld(t)
	caller, instance := w.container("172.30.0.2"), w.instance("172.30.0.4", "shop")
	w.apply([]Caller{w.caller(caller, "shop")}, map[string]Service{"shop": serviceOf(instance)})
	w.expect(caller, "shop")
	for _, addr := range []string{"172.30.0.4:80", gateway + ":10002"} {
		if err := caller.in(func() error {
			return command(t, "timeout", "1", "bash", "-c", "echo >/dev/tcp/"+strings.Replace(addr, ":", "/", 1))
		}); err == nil {
			t.Errorf("the container connects to %s", addr)
		}
	}
}

// TestIPTablesCanStillReadItsTable, where the rule stands that lets connections pass.
func TestIPTablesCanStillReadItsTable(t *testing.T) {
	w := newWorld(t)
	w.mustIn(func() error { return errors.Join(AllowInward("dokkaa"), AllowInward("dokkaa")) })
	rules := func() (out []byte) {
		w.mustIn(func() (err error) {
			out, err = exec.Command("iptables", "-S", "DOCKER-USER").CombinedOutput()
			return err
		})
		return out
	}
	want := `-N DOCKER-USER
-A DOCKER-USER -i dokkaa -o dokkaa -m connmark --mark 0xd0000000/0xf0000000 -m comment --comment dokkaa-ambassador -j ACCEPT
-A DOCKER-USER -j RETURN
`
	got := string(rules())
	if strings.ReplaceAll(got, " -m comment --comment dokkaa-ambassador", "") != strings.ReplaceAll(want, " -m comment --comment dokkaa-ambassador", "") {
		t.Errorf("iptables reads\n%s, want\n%s", got, want)
	}
	w.run("iptables", "-A", "FORWARD", "-j", "ACCEPT") // as Docker goes on to write there
	w.mustIn(ForbidInward)
	w.mustIn(ForbidInward)
	if got := string(rules()); strings.Contains(got, "connmark") {
		t.Errorf("iptables reads\n%s", got)
	}
}

func TestNoChainForUsers(t *testing.T) {
	n := newNamespace(t)
	n.ip("link add dokkaa type bridge") // the bridge's settings come with the module
	if err := n.in(func() error { return AllowInward("dokkaa") }); err == nil {
		t.Error("allowed without a chain")
	}
	n.mustIn(ForbidInward)
}

// TestNextOwnerOfAnAddressInheritsNothing although nobody removes the link.
func TestNextOwnerOfAnAddressInheritsNothing(t *testing.T) {
	w := newWorld(t)
	first, instance := w.container("172.30.0.2"), w.instance("172.30.0.4", "shop")
	w.apply([]Caller{w.caller(first, "shop")}, map[string]Service{"shop": serviceOf(instance)})
	w.expect(first, "shop")
	for range 10 {
		w.end(first)
		first = w.container("172.30.0.2")
		w.expect(first, listener)
	}
	w.apply([]Caller{w.caller(first, "shop")}, map[string]Service{"shop": serviceOf(instance)})
	w.expect(first, "shop")
}

// TestNextOwnerOfAnInstancesAddressIsNotTakenForIt although nobody withdraws the instance.
func TestNextOwnerOfAnInstancesAddressIsNotTakenForIt(t *testing.T) {
	w := newWorld(t)
	c, shop := w.container("172.30.0.2"), w.instance("172.30.0.4", "shop")
	callers := []Caller{w.caller(c, "shop")}
	w.apply(callers, map[string]Service{"shop": serviceOf(shop)})
	w.expect(c, "shop")
	w.end(shop)
	w.instance("172.30.0.4", "bank")
	answer := make(chan string, 1)
	go func() {
		who, err := c.call()
		answer <- fmt.Sprint(who, err)
	}()
	time.Sleep(300 * time.Millisecond)
	w.apply(callers, nil)
	if who := <-answer; who != listener+"<nil>" {
		t.Errorf("answered by %s", who)
	}
}

// TestAddressOfAnotherContainer is of one that took it while that one runs.
func TestAddressOfAnotherContainer(t *testing.T) {
	w := newWorld(t)
	caller, instance := w.container("172.30.0.2"), w.instance("172.30.0.4", "shop")
	w.apply([]Caller{w.caller(caller, "shop")}, map[string]Service{"shop": serviceOf(instance)})
	thief := w.container("172.30.0.2")
	if who, err := thief.call(); who == "shop" || err == nil && who != listener {
		t.Errorf("the thief was answered by %q", who)
	}
	w.mustIn(func() error {
		ports, err := Ports("dokkaa")
		if err == nil && ports[caller.addr] != 0 {
			err = fmt.Errorf("the address that two have is told of: %v", ports)
		}
		return err
	})
}

func TestWithdrawnInstanceKeepsItsConnections(t *testing.T) {
	w := newWorld(t)
	c := w.container("172.30.0.2")
	old, young := w.instance("172.30.0.4", "old"), w.instance("172.30.0.5", "young")
	callers := []Caller{w.caller(c, "shop")}
	w.apply(callers, map[string]Service{"shop": serviceOf(old)})
	conn, who, err := c.dial()
	if who != "old" || err != nil {
		t.Fatalf("answered by %q: %v", who, err)
	}
	defer conn.Close()
	w.apply(callers, map[string]Service{"shop": serviceOf(young)})
	for range 20 {
		w.expect(c, "young")
	}
	w.apply(callers, nil)
	w.expect(c, listener)
	w.mustIn(w.table.Delete)
	w.expect(c, listener)
	if _, err := io.WriteString(conn, "still there?"); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(conn); string(rest) != "still there?" || err != nil {
		t.Errorf("the old connection said %q: %v", rest, err)
	}
}

func TestShares(t *testing.T) {
	w := newWorld(t)
	c := w.container("172.30.0.2")
	service := serviceOf(w.instance("172.30.0.4", "light"), w.instance("172.30.0.5", "heavy"), w.instance("172.30.0.6", "spare"))
	service.Endpoints[1].Weight = 300
	service.Endpoints[2].Priority = 20
	w.apply([]Caller{w.caller(c, "shop")}, map[string]Service{"shop": service})
	answers := make(map[string]int)
	for range 800 {
		who, err := c.call()
		if err != nil {
			t.Fatal(err)
		}
		answers[who]++
	}
	if answers["light"] < 120 || answers["light"] > 280 || answers["light"]+answers["heavy"] != 800 {
		t.Errorf("1 to 3 became %v", answers)
	}
}

// TestRefusingInstance: the caller is not refused, but served by the ambassador after a second.
func TestRefusingInstance(t *testing.T) {
	w := newWorld(t)
	c, empty := w.container("172.30.0.2"), w.container("172.30.0.4")
	callers := []Caller{w.caller(c, "shop")}
	w.announce(empty)
	w.apply(callers, map[string]Service{"shop": serviceOf(empty)})
	done := make(chan string, 1)
	go func() {
		who, err := c.call()
		done <- fmt.Sprint(who, err)
	}()
	etcdtest.WaitFor(t, 5*time.Second, func() error {
		return w.in(func() error {
			failing, err := w.table.Failing()
			if err == nil && len(failing) != 1 {
				err = fmt.Errorf("%v fail", failing)
			}
			return err
		})
	})
	w.apply(callers, map[string]Service{"shop": {Why: "an instance refused"}})
	if got := <-done; got != listener+"<nil>" {
		t.Errorf("answered by %s", got)
	}
	w.mustIn(func() error {
		failing, err := w.table.Failing()
		if err == nil && len(failing) != 0 {
			err = fmt.Errorf("%v fail, again", failing)
		}
		return err
	})
}

// TestSilentInstance is of one whose host is gone: the caller's next tries go elsewhere.
func TestSilentInstance(t *testing.T) {
	w := newWorld(t)
	c, silent := w.container("172.30.0.2"), w.instance("172.30.0.4", "silent")
	silent.nft("add table ip t; add chain ip t c { type filter hook input priority 0; policy drop; }")
	callers := []Caller{w.caller(c, "shop")}
	w.apply(callers, map[string]Service{"shop": serviceOf(silent)})
	begun := time.Now()
	done := make(chan string, 1)
	go func() {
		who, err := c.call()
		done <- fmt.Sprint(who, err)
	}()
	time.Sleep(200 * time.Millisecond)
	w.apply(callers, nil)
	if got := <-done; got != listener+"<nil>" || time.Since(begun) > 4*time.Second {
		t.Errorf("answered by %s after %v", got, time.Since(begun))
	}
	t.Logf("served after %v", time.Since(begun))
}

// TestUnreachableInstance is of one whose host says that it is not there.
func TestUnreachableInstance(t *testing.T) {
	w := newWorld(t)
	c := w.container("172.30.0.2")
	callers := []Caller{w.caller(c, "shop")}
	w.ip("route add unreachable 10.9.9.9/32")
	w.apply(callers, map[string]Service{"shop": {Endpoints: []Endpoint{{Addr: netip.MustParseAddrPort("10.9.9.9:80")}}}})
	done := make(chan string, 1)
	go func() {
		who, err := c.call()
		done <- fmt.Sprint(who, err)
	}()
	time.Sleep(200 * time.Millisecond)
	w.apply(callers, nil)
	if got := <-done; got != listener+"<nil>" {
		t.Errorf("answered by %s", got)
	}
}

// TestNobodyLooksAfterTheTable: what was written when its ambassador died is worth nothing soon.
func TestNobodyLooksAfterTheTable(t *testing.T) {
	w := newWorld(t)
	c, instance := w.container("172.30.0.2"), w.instance("172.30.0.4", "shop")
	w.apply([]Caller{w.caller(c, "shop")}, map[string]Service{"shop": serviceOf(instance)})
	w.expect(c, "shop")
	next := New(Settings{Name: "next", Bridge: "dokkaa", Gateway: netip.MustParseAddr(gateway), Ports: [2]uint16{10000, 10100}, Limit: 1000}, 99)
	w.mustIn(next.Clean)
	w.expect(c, "shop") // it lives, as far as the next one knows
	time.Sleep(Lifetime + 100*time.Millisecond)
	w.expect(c, listener)
	w.mustIn(next.Clean)
	if tables := strings.Join(w.nft("list", "tables"), ", "); strings.Contains(tables, tablePrefix) {
		t.Errorf("the tables are %s", tables)
	}
	w.mustIn(func() error {
		if err := w.table.Renew(); err == nil {
			return errors.New("a table that is gone was renewed")
		}
		return nil
	})
	w.apply([]Caller{w.caller(c, "shop")}, map[string]Service{"shop": serviceOf(instance)})
	w.expect(c, "shop")
}

// TestTwoAmbassadors, of which one takes over from the other.
func TestTwoAmbassadors(t *testing.T) {
	w := newWorld(t)
	c, instance := w.container("172.30.0.2"), w.instance("172.30.0.4", "shop")
	caller, services := w.caller(c, "shop"), map[string]Service{"shop": serviceOf(instance)}
	w.apply([]Caller{caller}, services)
	old := w.table
	settings := w.table.settings
	settings.Name = "next"
	w.table = New(settings, 1000)
	w.apply([]Caller{caller}, services)
	w.expect(c, "shop")
	w.mustIn(old.Delete)
	w.expect(c, "shop")
}

func TestTraffic(t *testing.T) {
	w := newWorld(t)
	c, instance := w.container("172.30.0.2"), w.instance("172.30.0.4", "shop")
	w.apply([]Caller{w.caller(c, "shop")}, map[string]Service{"shop": serviceOf(instance)})
	conn, _, err := c.dial()
	if err != nil {
		t.Fatal(err)
	}
	w.expect(c, "shop")
	w.apply(nil, nil) // what is open goes on, and is counted
	const size = 1 << 20
	go func() {
		_, _ = conn.Write(make([]byte, size)) // or the size is wrong
		_ = conn.CloseWrite()                 // or the end does not come
	}()
	if n, err := io.Copy(io.Discard, conn); n != size || err != nil {
		t.Fatalf("%d bytes came back: %v", n, err)
	}
	var all map[Instance]Traffic
	w.mustIn(func() (err error) {
		all, err = w.table.Traffic()
		return err
	})
	i := w.instanceOf("shop", instance)
	got := all[i]
	if got.Opened != 2 || got.Up < size || got.Up > size*12/10 || got.Down < size || got.Down > size*12/10 {
		t.Errorf("counted %+v of %v", got, all)
	}
	w.mustIn(func() error { return w.table.Forget([]Instance{i}) })
	w.mustIn(func() (err error) {
		all, err = w.table.Traffic()
		return err
	})
	if len(all) != 0 {
		t.Errorf("counted for who was forgotten: %v", all)
	}
}

// TestLimit is of a container with more connections than one may have: the ambassador gets the others.
func TestLimit(t *testing.T) {
	w := newWorld(t)
	w.table.settings.Limit = 5
	c, other, instance := w.container("172.30.0.2"), w.container("172.30.0.3"), w.instance("172.30.0.4", "shop")
	w.apply([]Caller{w.caller(c, "shop"), w.caller(other, "shop")}, map[string]Service{"shop": serviceOf(instance)})
	answers := make(map[string]int)
	for range 8 {
		conn, who, err := c.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		answers[who]++
	}
	if answers["shop"] != 5 || answers[listener] != 3 {
		t.Errorf("answered by %v", answers)
	}
	w.expect(other, "shop")
}

// TestManyInstances is of a table that takes more than one message.
func TestManyInstances(t *testing.T) {
	w := newWorld(t)
	c := w.container("172.30.0.2")
	callers := []Caller{w.caller(c, "shop")}
	services := make(map[string]Service)
	callers[0].Links = make(map[uint16]string)
	for s := range 100 {
		name := fmt.Sprint("service", s)
		callers[0].Links[uint16(10000+s)] = name
		var service Service
		for i := range 100 {
			service.Endpoints = append(service.Endpoints, Endpoint{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, byte(s), byte(i)}), 80)})
		}
		services[name] = service
	}
	for i := range 1000 {
		caller := callers[0]
		caller.Port, caller.Addr = uint32(1000+i), netip.AddrFrom4([4]byte{172, 30, byte(1 + i/250), byte(i % 250)})
		callers = append(callers, caller)
	}
	begun := time.Now()
	w.apply(callers, services)
	t.Logf("10,000 instances and 100,000 links: %v", time.Since(begun))
	services["service1"] = serviceOf(w.instance("172.30.0.4", "shop"))
	begun = time.Now()
	w.apply(callers, services)
	t.Logf("one service changed: %v", time.Since(begun))
	w.expect(c, "shop")
}

// TestLinksAndServicesChange, all in one transaction.
func TestLinksAndServicesChange(t *testing.T) {
	w := newWorld(t)
	c, a, b := w.container("172.30.0.2"), w.instance("172.30.0.4", "a"), w.instance("172.30.0.5", "b")
	caller := w.caller(c, "one")
	services := map[string]Service{"one": serviceOf(a), "two": serviceOf(b)}
	for range 3 {
		caller.Links[dialled] = "one"
		w.apply([]Caller{caller}, services)
		w.expect(c, "a")
		caller.Links[dialled] = "two"
		w.apply([]Caller{caller}, services)
		w.expect(c, "b")
		services["one"], services["two"] = services["two"], services["one"]
		w.apply([]Caller{caller}, services)
		w.expect(c, "a")
		services["one"], services["two"] = services["two"], services["one"]
	}
}
