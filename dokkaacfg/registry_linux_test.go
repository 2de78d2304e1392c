package dokkaacfg

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/internal/state"
)

// askedHost is a host whose Docker Engine knows who may log in, and nothing else.
type askedHost struct {
	netip.Addr
	docker string
}

func (h askedHost) IP() netip.Addr     { return h.Addr }
func (h askedHost) DockerHost() string { return h.docker }

// loginDocker is that engine.
func loginDocker(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/version", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"ApiVersion": "1.41", "MinAPIVersion": "1.12"}`)
	})
	mux.HandleFunc("/_ping", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /{version}/auth", func(w http.ResponseWriter, r *http.Request) {
		var asked struct{ Username, Password, ServerAddress string }
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			t.Error(err)
		}
		switch asked {
		case struct{ Username, Password, ServerAddress string }{"ann", "hunter2", "registry.example.com:5000"},
			struct{ Username, Password, ServerAddress string }{"ann", "hunter2", "https://index.docker.io/v1/"}:
			fmt.Fprint(w, `{"Status": "Login Succeeded"}`)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if strings.HasPrefix(asked.ServerAddress, "away") {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, `{"message": "Get https://away/v2/: no such host"}`)
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"message": "unauthorized: authentication required"}`)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return "tcp://" + server.Listener.Addr().String()
}

func TestRegistryLogin(t *testing.T) {
	c := newTestCluster(t)
	if _, err := ensureSecretKey(filepath.Join(c.dir, secretKeyName)); err != nil {
		t.Fatal(err)
	}
	key, err := parseSecretKey(filepath.Join(c.dir, secretKeyName))
	if err != nil {
		t.Fatal(err)
	}
	// The first host is down; the second decides.
	c.existing = []Host{askedHost{addrs("10.101.0.1")[0], "unix:///nonexistent/docker.sock"}, askedHost{addrs("10.101.0.2")[0], loginDocker(t)}}
	login := func(input, says string, args ...string) {
		t.Helper()
		out, err := c.run(input, append([]string{"registry", "login"}, args...)...)
		if err != nil {
			out += err.Error()
		}
		if !strings.Contains(out, says) || strings.Contains(out, "hunter") {
			t.Errorf("login %q says %q, want %q in it", args, out, says)
		}
	}
	stdin := []string{"--username=ann", "--password-stdin"}
	login("hunter2\n", "registry registry.example.com:5000 takes user ann: all hosts", append(stdin, "https://registry.example.com:5000/v2/")...)
	var stored state.Registry
	if err := json.Unmarshal([]byte(c.value("/dokkaa/registries/registry.example.com:5000")), &stored); err != nil {
		t.Fatal(err)
	}
	password, err := key.Open(stored.Password, state.RegistrySealName("registry.example.com:5000", "ann"))
	if err != nil || string(password) != "hunter2" || stored.Username != "ann" {
		t.Errorf("kept is %+v: %q, %v", stored, password, err)
	}
	login("hunter2", "registry docker.io takes user ann", stdin...)
	before := c.value("/dokkaa/registries/docker.io")
	login("hunter1", "registry docker.io does not take user ann with this password: unauthorized: authentication required", append(stdin, "index.docker.io")...)
	login("hunter1", "host 10.101.0.2 cannot ask registry away.example.com: Get https://away/v2/: no such host", append(stdin, "away.example.com")...)
	if c.value("/dokkaa/registries/docker.io") != before {
		t.Error("a login that is no good was kept")
	}
	login("hunter2", "is not a registry", append(stdin, "registry.example.com/web")...)
	login("", "is empty", stdin...)
	login("hunter2", "--username says that", "--password-stdin")
	login("hunter2", "--password-stdin", "--username=ann")

	const table = "REGISTRY                   USER\ndocker.io                  ann\nregistry.example.com:5000  ann\n"
	if out := c.mustRun("registry", "ls"); out != table {
		t.Errorf("ls:\n%s", out)
	}
	if out := c.mustRun("registry", "ls", "-o", "json"); !strings.Contains(out, `"registry": "docker.io",`+"\n"+`    "username": "ann"`) || strings.Contains(out, "assword") {
		t.Errorf("ls -o json:\n%s", out)
	}
	c.mustRun("registry", "logout")
	c.fails("there is no login at registry docker.io; dokkaacfg registry ls", "registry", "logout", "docker.io")
	c.mustRun("registry", "logout", "registry.example.com:5000")
	if out := c.mustRun("registry", "ls"); out != "No logins.\n" {
		t.Errorf("ls:\n%s", out)
	}
}
