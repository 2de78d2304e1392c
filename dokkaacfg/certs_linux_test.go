package dokkaacfg

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/dokkaacfg/certificates"
)

// rotates gives the hosts new certificates while keys are read and written on new connections and a
// poll waits on an old one.
func (m *machines) rotates() {
	m.Helper()
	const conductor = "conductor/conductor.pem"
	before, started := m.certificate(m.machines[0], conductor), m.started()
	answer := m.poll()
	failed := m.load()
	if out := m.call("certs", "rotate"); !strings.Contains(out, "Old ones are good until they end") {
		m.Errorf("certs rotate says:\n%s", out)
	}
	m.Log(m.call("certs"))
	time.Sleep(readAgain)
	if failed := failed(); len(failed) > 0 {
		m.Errorf("while certificates were changed: %q", failed)
	}
	if m.certificate(m.machines[0], conductor) == before {
		m.Error("the conductor's certificate is the old one")
	}
	if now := m.started(); now != started {
		m.Errorf("daemons were restarted:\n%s\nbefore:\n%s", now, started)
	}
	if says := m.asOperator("PUT https://" + m.machines[1].IP().String() + ":4001/v2/keys/test/polled?value=now"); !strings.Contains(says, "now") {
		m.Errorf("a write: %s", says)
	}
	if event := <-answer; !strings.Contains(event, `"value":"now"`) {
		m.Errorf("the poll from before: %s", event)
	}
}

// started says since when each of our daemons runs.
func (m *machines) started() string {
	m.Helper()
	var all strings.Builder
	for _, machine := range m.machines {
		all.WriteString(m.on(machine, `docker ps -q --filter label=dokkaa.daemon | xargs docker inspect --format '{{.Name}} of '$(hostname)' {{.State.StartedAt}}' | sort`) + "\n")
	}
	return strings.TrimSpace(all.String())
}

// operatorFile reads a file that is there for curl.
func (m *machines) operatorFile(name string) string {
	m.Helper()
	files, err := filepath.Glob(filepath.Join(m.home, ".config/dokkaa/*/certificates", name))
	if err != nil || len(files) != 1 {
		m.Fatalf("%s is %q, %v", name, files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		m.Fatal(err)
	}
	return string(text)
}

// asOperator sends a request with the operator's certificate, from the first host.
func (m *machines) asOperator(request string) string {
	m.Helper()
	return askWith(m.T, m.machines[0], m.operatorFile(certificates.OperatorFile), m.operatorFile(certificates.BelievedFile), request)
}

// load reads and writes keys on new connections until the function is called that is returned, which
// says what failed.
func (m *machines) load() func() []string {
	ctx, stop := context.WithCancel(m.Context())
	ended := make(chan []string)
	go func() {
		var failed []string
		for n := 0; ctx.Err() == nil; n++ {
			host := m.machines[n%len(m.machines)].IP()
			for _, request := range []string{"GET https://%s:4001/v2/keys/apps", "PUT https://%s:4001/v2/keys/test/load?value=1"} {
				request = fmt.Sprintf(request, host)
				if says := m.asOperator(request); !strings.HasPrefix(says, `{"action"`) {
					failed = append(failed, request+": "+says)
				}
			}
		}
		ended <- failed
	}()
	return func() []string {
		stop()
		return <-ended
	}
}

// poll begins a long poll, and returns what it answers.
func (m *machines) poll() <-chan string {
	m.Helper()
	own := m.operatorFile(certificates.OperatorFile)
	pair, err := tls.X509KeyPair([]byte(own), []byte(own))
	if err != nil {
		m.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM([]byte(m.operatorFile(certificates.BelievedFile)))
	client := http.Client{Transport: &http.Transport{DialContext: m.machines[0].Dial, TLSClientConfig: config}}
	req, err := http.NewRequestWithContext(m.Context(), http.MethodGet, "https://"+m.machines[1].IP().String()+":4001/v2/keys/test/polled?wait=true", http.NoBody)
	if err != nil {
		m.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		m.Fatal(err)
	}
	answer := make(chan string, 1)
	go func() {
		defer resp.Body.Close()
		var event json.RawMessage
		err := json.NewDecoder(bufio.NewReader(resp.Body)).Decode(&event)
		answer <- fmt.Sprint(string(event), err)
	}()
	return answer
}
