package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrongUsageEndsWithTwo(t *testing.T) {
	tests := map[string]struct {
		args []string
		says string
	}{
		"unknown command":  {[]string{"upp"}, `unknown command "upp" for "dokkaacfg"; is it`},
		"unknown flag":     {[]string{"up", "--scael=2"}, "unknown flag: --scael"},
		"unknown in group": {[]string{"host", "lss"}, `unknown command "lss" for "dokkaacfg host"; is it ls?`},
		"no argument":      {[]string{"host", "drain"}, "an argument is missing: it is dokkaacfg host drain <ip>"},
		"one too many":     {[]string{"status", "all"}, "unexpected argument all: it is dokkaacfg status"},
		"form":             {[]string{"status", "-o", "xml"}, "it is json or yaml"},
		"no number":        {[]string{"up", "--scale=two"}, "--scale"},
		"unknown provider": {[]string{"--provider=aws", "up", "--scale=2"}, `provider "aws" is not supported by this version; there are: local, digitalocean`},
		"provider after":   {[]string{"up", "--provider=aws"}, `provider "aws" is not supported`},
		"bad cluster name": {[]string{"--cluster=../x", "status"}, `cluster name "../x"`},
		"bad subnet":       {[]string{"--subnet=10.0.0.0/33", "up"}, "--subnet"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var out, errOut strings.Builder
			if code := Main(t.Context(), test.args, strings.NewReader(""), &out, &errOut); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			if !strings.Contains(errOut.String(), test.says) {
				t.Errorf("it says %q, want %q in it", &errOut, test.says)
			}
		})
	}
}

// fakeProvider has hosts that do not exist.
type fakeProvider struct {
	keep     string
	existing []Host
	left     []string
	downErr  error
	downs    int
}

type fakeHost netip.Addr

func (h fakeHost) IP() netip.Addr     { return netip.Addr(h) }
func (h fakeHost) DockerHost() string { return "unix:///nonexistent/docker.sock" }

func (f *fakeProvider) describe() string                                   { return "hosts of a test" }
func (f *fakeProvider) dir() string                                        { return f.keep }
func (f *fakeProvider) prepare(context.Context, *progress) error           { return nil }
func (f *fakeProvider) maxScale() int                                      { return 3 }
func (f *fakeProvider) up(context.Context, int, *progress) ([]Host, error) { return f.existing, nil }
func (f *fakeProvider) hosts(context.Context) ([]Host, error)              { return f.existing, nil }
func (f *fakeProvider) remove(context.Context, Host) error                 { return nil }
func (f *fakeProvider) leftovers(context.Context) (left []string, _ error) { return f.left, nil }
func (f *fakeProvider) down(context.Context) error                         { f.downs++; return f.downErr }

func newSession(t *testing.T, p provider, input string) (*session, *strings.Builder) {
	var out strings.Builder
	return &session{
		cluster: "test", provider: p, stateDir: t.TempDir(),
		in: strings.NewReader(input), out: &out, errOut: &out, log: slog.New(slog.DiscardHandler), hostClient: newHostClient(p, doors{}),
	}, &out
}

func TestDownRemovesOnlyWhatIsConfirmed(t *testing.T) {
	tests := map[string]struct {
		input string
		yes   bool
		downs int
		fails bool
	}{
		"--yes":               {"", true, 1, false},
		"the cluster's name":  {"test\n", false, 1, false},
		"something else":      {"y\n", false, 0, true},
		"nobody there":        {"", false, 0, true},
		"name, no line's end": {"test", false, 1, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := &fakeProvider{left: []string{"network namespace x"}, existing: []Host{fakeHost(addrs("10.0.0.1")[0])}}
			s, out := newSession(t, p, test.input)
			err := (&downCommand{Yes: test.yes}).Run(t.Context(), s)
			if (err != nil) != test.fails || p.downs != test.downs {
				t.Errorf("error %v, %d times down", err, p.downs)
			}
			for _, told := range []string{"network namespace x", "10.0.0.1"} {
				if !strings.Contains(out.String(), told) {
					t.Errorf("it does not tell of %q:\n%s", told, out)
				}
			}
		})
	}
}

func TestDownOfNothing(t *testing.T) {
	p := &fakeProvider{}
	s, out := newSession(t, p, "")
	if err := new(downCommand).Run(t.Context(), s); err != nil || p.downs != 0 {
		t.Errorf("error %v, %d times down", err, p.downs)
	}
	if !strings.Contains(out.String(), "nothing of cluster test") {
		t.Errorf("it says %q", out)
	}
}

func TestUpKeepsToTheScale(t *testing.T) {
	var two []Host
	for _, addr := range addrs("10.0.0.1", "10.0.0.2") {
		two = append(two, fakeHost(addr))
	}
	tests := map[string]struct {
		scale int
		says  string
	}{
		"too many": {4, "there can be 1 to 3 hosts here"},
		"negative": {-1, "there can be 1 to 3 hosts here"},
		"fewer":    {1, "up does not remove any"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, _ := newSession(t, &fakeProvider{existing: two}, "")
			err := (&upCommand{Scale: test.scale}).Run(t.Context(), s)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("up says %v, want %q in it", err, test.says)
			}
		})
	}
}

func TestStatusOfNothing(t *testing.T) {
	s, _ := newSession(t, &fakeProvider{}, "")
	if err := new(statusCommand).Run(t.Context(), s); err == nil || !strings.Contains(err.Error(), "there is no cluster test") {
		t.Errorf("status says %v", err)
	}
}

// With no gateway that answers, status says so and names the hosts.
func TestStatusWithoutGateway(t *testing.T) {
	s, _ := newSession(t, &fakeProvider{existing: []Host{fakeHost(addrs("127.0.0.77")[0])}}, "")
	err := new(statusCommand).Run(t.Context(), s)
	if err == nil || !strings.Contains(err.Error(), "127.0.0.77") || !strings.Contains(err.Error(), "gateway") {
		t.Errorf("status says %v", err)
	}
}

func TestOneAtATime(t *testing.T) {
	s, _ := newSession(t, &fakeProvider{left: []string{"x"}, downErr: errors.New("stuck")}, "")
	release, err := s.lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.lock(); err == nil || !strings.Contains(err.Error(), "another dokkaacfg") {
		t.Errorf("second lock: %v", err)
	}
	release()
	// A command that fails leaves no lock, and no file of it.
	if err := (&downCommand{Yes: true}).Run(t.Context(), s); err == nil || err.Error() != "stuck" {
		t.Errorf("down says %v", err)
	}
	release, err = s.lock()
	if err != nil {
		t.Fatal(err)
	}
	release()
	if left, err := filepath.Glob(filepath.Join(s.stateDir, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestPutCommandIsTheDocumentedOne(t *testing.T) {
	const want = "curl -L -XPUT --data-urlencode value=\"`cat nginx.json`\" http://10.0.0.1:4001/v2/keys/apps/dummy/nginx/manifest"
	if got := putCommand(addrs("10.0.0.1")[0], nginx); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestLastPage(t *testing.T) {
	page := func(n int) string {
		return fmt.Sprintf("<!DOCTYPE html>\n<h1>Welcome to nginx!</h1> %d\n</html>", n)
	}
	tests := map[string]struct{ log, want string }{
		"the last whole one": {page(1) + "\n" + page(2) + "\n<!DOCTYPE html>\n<h1>Welc", page(2)},
		"none yet":           {"curl: (7) Failed to connect", ""},
		"another's":          {"<!DOCTYPE html>\n<h1>502</h1>\n</html>", ""},
		"empty":              {"", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := lastPage(test.log)
			if got != test.want || (err == nil) != (test.want != "") {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

func TestMissingPrograms(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	names, packages := missing([]program{{"nsenter", "util-linux"}, {"setsid", "util-linux"}})
	if strings.Join(names, " ") != "nsenter setsid" || strings.Join(packages, " ") != "util-linux" {
		t.Errorf("missing %q of %q", names, packages)
	}
	err := installPrograms(t.Context(), newProgress(&strings.Builder{}), virtualHostPrograms)
	if err == nil || !strings.Contains(err.Error(), "apt-get install --yes --no-install-recommends docker.io") {
		t.Errorf("without apt-get: %v", err)
	}
}

func TestReadImagesWantsAllDaemons(t *testing.T) {
	dir := t.TempDir()
	if _, err := readImages(dir); err == nil || !strings.Contains(err.Error(), "dokkaa/etcd:latest") {
		t.Errorf("no images: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x.tar"), make([]byte, 1024), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readImages(dir); err == nil || !strings.Contains(err.Error(), "manifest.json") {
		t.Errorf("no image: %v", err)
	}
}
