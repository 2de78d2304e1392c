package etcdtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// pollInterval is how often a server is asked whether it is where the test wants it.
const pollInterval = 20 * time.Millisecond

// Member is one etcd server. Its methods are for one goroutine; each fails the test where it
// cannot do what it says.
type Member struct {
	t                          testing.TB
	binary, name, dir, initial string
	client, peer               string // host:port
	secure                     *Authority

	process *exec.Cmd
	exited  chan struct{} // closed when the process is gone
	log     *tail
}

// URL is the member's client URL.
func (m *Member) URL() string { return m.secure.scheme() + m.client }

func (m *Member) peerURL() string { return m.secure.scheme() + m.peer }

// Kill ends the server as a power cut would, and waits until it is gone.
func (m *Member) Kill() {
	m.t.Helper()
	m.kill()
}

// Restart kills the server if it runs, starts it on the same data and ports, and returns once it
// is healthy: a member of a cluster without a quorum never is.
func (m *Member) Restart() {
	m.t.Helper()
	m.Kill()
	m.startHealthy()
}

// Stop suspends the server: it keeps its connections and answers nothing.
func (m *Member) Stop() {
	m.t.Helper()
	m.signal(syscall.SIGSTOP)
}

// Cont resumes a suspended server.
func (m *Member) Cont() {
	m.t.Helper()
	m.signal(syscall.SIGCONT)
}

// Wipe kills the server and starts it anew, without its data. The only member of a cluster comes
// back empty, and with the same cluster id: that is made from its name and address.
func (m *Member) Wipe() {
	m.t.Helper()
	m.Kill()
	if err := os.RemoveAll(m.dir); err != nil {
		m.t.Fatalf("wipe etcd: %v", err)
	}
	m.startHealthy()
}

func (m *Member) startHealthy() {
	m.t.Helper()
	if err := m.start(); err != nil {
		m.t.Fatalf("start etcd: %v", err)
	}
	if err := m.waitHealthy(startDeadline); err != nil {
		m.t.Fatalf("start etcd: %v", err)
	}
}

func (m *Member) start() error {
	m.log = new(tail)
	m.process = exec.Command(m.binary,
		"--name", m.name, "--data-dir", m.dir, "--enable-v2", "--log-level", "warn",
		// The tests do not survive a power cut either.
		"--unsafe-no-fsync",
		"--listen-client-urls", m.URL(), "--advertise-client-urls", m.URL(),
		"--listen-peer-urls", m.peerURL(), "--initial-advertise-peer-urls", m.peerURL(),
		"--initial-cluster", m.initial, "--initial-cluster-token", m.initial)
	m.process.Args = append(m.process.Args, m.secure.flags()...)
	m.process.Env = []string{"PATH=" + os.Getenv("PATH")} // no ETCD_* of the user's
	m.process.Stdout, m.process.Stderr = m.log, m.log
	// The server ends with the test even if that is killed.
	m.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.process.Start(); err != nil {
		return err
	}
	m.exited = make(chan struct{})
	go func(process *exec.Cmd, exited chan struct{}) {
		_ = process.Wait() // how it ended is in its log, and most are killed
		close(exited)
	}(m.process, m.exited)
	return nil
}

func (m *Member) kill() {
	if m.process == nil {
		return
	}
	_ = m.process.Process.Kill() // gone already is fine
	<-m.exited
}

func (m *Member) signal(s syscall.Signal) {
	m.t.Helper()
	if err := m.process.Process.Signal(s); err != nil {
		m.t.Fatalf("signal etcd: %v", err)
	}
}

func (m *Member) waitHealthy(patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		err := m.ask("/health", nil)
		if err == nil {
			return nil
		}
		select {
		case <-m.exited:
			return fmt.Errorf("%s ended: %s", m.name, m.log)
		case <-time.After(pollInterval):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not healthy: %w: %s", m.name, err, m.log)
		}
	}
}

func (m *Member) leads() bool {
	var self struct{ State string }
	return m.ask("/v2/stats/self", &self) == nil && self.State == "StateLeader"
}

// ask gets a path of the server, and decodes its JSON into answer, which may be nil.
func (m *Member) ask(path string, answer any) error {
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: m.secure.client()}}
	resp, err := client.Get(m.URL() + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// tail keeps the end of a server's log.
type tail struct {
	mu  sync.Mutex
	log bytes.Buffer
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.log.Len() > 1<<16 {
		l.log.Reset()
	}
	return l.log.Write(p)
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.String()
}
