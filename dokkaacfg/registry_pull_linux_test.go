package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"
	"golang.org/x/crypto/bcrypt"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/vhost"
)

// debianRegistry is Debian's docker-registry, which knows one user.
type debianRegistry struct {
	*testing.T
	address, users string
	username       string
}

// startDebianRegistry starts one on a host, until the test ends.
func startDebianRegistry(t *testing.T, host *vhost.Host, address, username, password string) *debianRegistry {
	t.Helper()
	dir := t.TempDir()
	r := &debianRegistry{T: t, address: address, username: username, users: filepath.Join(dir, "users")}
	r.setPassword(password)
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("{version: 0.1, log: {level: error}, storage: {filesystem: {rootdirectory: %s}}, http: {addr: %q}, auth: {htpasswd: {realm: shop, path: %s}}}", filepath.Join(dir, "images"), address, r.users)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	serve := host.Command(context.Background(), "docker-registry", "serve", config)
	serve.Stderr = t.Output() // what is asked of it goes to the other one
	if err := serve.Start(); err != nil {
		t.Fatalf("%v: make tools installs docker-registry", err)
	}
	t.Cleanup(func() {
		var killed *exec.ExitError
		if err := errors.Join(serve.Process.Kill(), serve.Wait()); err != nil && !errors.As(err, &killed) {
			t.Error(err)
		}
	})
	err := poll(t.Context(), 10*time.Second, func(ctx context.Context) error {
		conn, err := host.Dial(ctx, "tcp", address)
		if err == nil {
			conn.Close()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *debianRegistry) setPassword(password string) {
	r.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		r.Fatal(err)
	}
	if err := os.WriteFile(r.users, fmt.Appendf(nil, "%s:%s\n", r.username, hash), 0o600); err != nil {
		r.Fatal(err)
	}
	later := time.Now().Add(time.Minute) // the registry reads the file again when its time has changed, to the second
	if err := os.Chtimes(r.users, later, later); err != nil {
		r.Fatal(err)
	}
}

// push puts an image of a host into the registry, and forgets the name.
func (r *debianRegistry) push(e *engine, image, name, tag, password string) {
	r.Helper()
	repository := r.address + "/" + name
	if err := e.client.TagImage(image, dockerclient.TagImageOptions{Repo: repository, Tag: tag, Context: r.Context()}); err != nil {
		r.Fatal(err)
	}
	if err := e.client.PushImage(dockerclient.PushImageOptions{Name: repository, Tag: tag, Context: r.Context()}, dockerclient.AuthConfiguration{Username: r.username, Password: password}); err != nil {
		r.Fatal(err)
	}
	if err := e.client.RemoveImageExtended(repository+":"+tag, dockerclient.RemoveImageOptions{Context: r.Context()}); err != nil {
		r.Fatal(err)
	}
}

// TestPullsWithALogin runs containers whose images are not for everybody: without a login, with a wrong
// one, with a good one, and after the password was changed.
func TestPullsWithALogin(t *testing.T) {
	const address = "10.134.0.1:5000"
	flags, cluster := localCluster(t, "cfgreg", "10.134.0.0/24")
	mustCall(t, append(flags, "up", "--scale=1", "--images="+builtImages)...)
	host := cluster.Host(1)
	registry := startDebianRegistry(t, host, address, "ann", "hunter2")
	e, err := connect(t.Context(), host, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"1", "2"} {
		registry.push(e, "dockerfile/nginx", "shop/web", tag, "hunter2")
	}

	var told strings.Builder
	run := func(input string, args ...string) (int, string) {
		t.Helper()
		var out strings.Builder
		code := Main(t.Context(), append(flags, args...), strings.NewReader(input), &out, &out)
		told.WriteString(out.String())
		return code, out.String()
	}
	says := func(wanted string) {
		t.Helper()
		err := poll(t.Context(), 2*time.Minute, func(context.Context) error {
			if _, status := run("", "status"); !strings.Contains(status, wanted) {
				return errors.New(status)
			}
			return nil
		})
		if err != nil {
			t.Fatalf("status does not come to say %q: %v", wanted, err)
		}
	}
	apply := func(tag string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "web.json")
		text := fmt.Sprintf(`{"image": "%s/shop/web:%s", "services": {"web": 80}, "update": {"min_healthy_time": "1s"}}`, address, tag)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out := run("", "apply", "-f", file, "shop/web", "--detach"); code != 0 {
			t.Fatal(out)
		}
	}
	login := []string{"registry", "login", address, "-u", "ann", "--password-stdin"}

	apply("1")
	says("registry " + address + " does not give it to everybody, and the cluster has no login there: dokkaacfg registry login " + address)
	if code, out := run("hunter1", login...); code != 1 || !strings.Contains(out, "registry "+address+" does not take user ann with this password") {
		t.Errorf("a wrong password: %d, %s", code, out)
	}
	if code, out := run("hunter2", login...); code != 0 {
		t.Fatal(out)
	}
	if code, out := run("", "wait", "shop/web", "--timeout=2m"); code != 0 {
		t.Fatal(out)
	}

	registry.setPassword("hunter3")
	apply("2")
	says("registry " + address + " does not give it to user ann, or the password has changed: dokkaacfg registry login " + address)
	if code, out := run("hunter3", login...); code != 0 {
		t.Fatal(out)
	}
	if code, out := run("", "wait", "shop/web", "--timeout=2m"); code != 0 || !strings.Contains(out, "revision 2") {
		t.Fatal(out)
	}
	registry.isToldNobody(t, e, &told, run)
}

// isToldNobody looks for the passwords where they must not be.
func (r *debianRegistry) isToldNobody(t *testing.T, e *engine, told *strings.Builder, run func(string, ...string) (int, string)) {
	t.Helper()
	run("", "events")
	run("", "inspect", "shop/web", "-o", "json")
	run("", "registry", "ls", "-o", "json")
	log, err := e.logs(t.Context(), "conductor", time.Time{}, "all")
	if err != nil {
		t.Fatal(err)
	}
	container, err := e.find(t.Context(), "shop---web")
	if err != nil {
		t.Fatal(err)
	}
	told.WriteString(log + fmt.Sprint(container.Config) + asJSON(container))
	response, err := http.Get("http://10.134.0.1:4001/v2/keys" + state.RegistriesDir + "?recursive=true")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	keys, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(keys), `\"username\":\"ann\"`) {
		t.Errorf("kept is %s", keys)
	}
	if told.Write(keys); strings.Contains(told.String(), "hunter") {
		t.Errorf("a password is told:\n%s", told)
	}
}
