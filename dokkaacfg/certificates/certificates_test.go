package certificates

import (
	"bytes"
	"crypto/x509"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/certificate"
)

var (
	start  = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	first  = Host{Private: netip.MustParseAddr("10.0.0.1")}
	second = Host{Private: netip.MustParseAddr("10.0.0.2")}
)

func newAuthorities(t *testing.T) Authorities {
	t.Helper()
	a, err := New("web", start)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// bring writes to a host what is due, and returns the names.
func (a Authorities) bring(t *testing.T, host Host, has map[string][]byte, anew bool, now time.Time) (names []string) {
	t.Helper()
	due, err := a.Due(host, has, anew, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range due {
		has[file.Name] = file.Content
		names = append(names, file.Name)
	}
	return names
}

func TestDue(t *testing.T) {
	a := newAuthorities(t)
	opened := first
	opened.Open = []netip.Addr{netip.MustParseAddr("198.51.100.1")}
	const everything, leaves = 10, 5
	for name, test := range map[string]struct {
		host  Host
		anew  bool
		after time.Duration
		lose  string
		want  string // one of the files
		count int
	}{
		"nothing":              {host: first},
		"in half a year":       {host: first, after: 182 * 24 * time.Hour},
		"in most of a year":    {host: first, after: 250 * 24 * time.Hour, count: leaves, want: "skydns/skydns.pem"},
		"anew":                 {host: first, anew: true, count: leaves, want: "etcd/etcd.pem"},
		"one is lost":          {host: first, lose: "conductor/conductor.pem", count: 1, want: "conductor/conductor.pem"},
		"who is believed":      {host: first, lose: "etcd/ca.pem", count: 1, want: "etcd/ca.pem"},
		"on a further address": {host: opened, count: 1, want: "gateway/gateway.pem"},
		"with another's":       {host: second, count: leaves, want: "gateway/etcd.pem"},
	} {
		has := map[string][]byte{}
		if names := a.bring(t, first, has, false, start); len(names) != everything {
			t.Fatalf("a new host gets %q", names)
		}
		delete(has, test.lose)
		names := a.bring(t, test.host, has, test.anew, start.Add(test.after))
		if len(names) != test.count || !strings.Contains(strings.Join(names, " "), test.want) {
			t.Errorf("%s: %q are due", name, names)
		}
		for file, text := range has {
			if strings.HasSuffix(file, "ca.pem") && bytes.Contains(text, []byte("PRIVATE")) {
				t.Errorf("%s has a key", file)
			}
		}
	}
}

// believes tells whether what a host believes vouches for another's certificate.
func believes(t *testing.T, believer map[string][]byte, authorities string, shower map[string][]byte, file string) bool {
	t.Helper()
	cert, err := certificate.Parse(shower[file])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(believer[authorities])
	_, err = cert.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: start, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

// While the authorities change, any two hosts believe each other, of which one may be a step behind;
// and at the end nobody believes an old one.
func TestChangeOfAuthorities(t *testing.T) {
	a := newAuthorities(t)
	ahead, behind := map[string][]byte{}, map[string][]byte{}
	a.bring(t, first, ahead, false, start)
	a.bring(t, second, behind, false, start)
	stolen := map[string][]byte{"conductor/conductor.pem": behind["conductor/conductor.pem"]}
	mutual := func(when string) {
		t.Helper()
		for _, pair := range [][2]map[string][]byte{{ahead, behind}, {behind, ahead}} {
			for file, authorities := range map[string]string{
				"etcd/etcd.pem": "gateway/etcd-ca.pem", "gateway/etcd.pem": "etcd/ca.pem", "gateway/gateway.pem": "conductor/ca.pem",
				"conductor/conductor.pem": "gateway/ca.pem", "skydns/skydns.pem": "gateway/ca.pem",
			} {
				if !believes(t, pair[0], authorities, pair[1], file) {
					t.Errorf("%s: %s is not believed", when, file)
				}
			}
		}
	}
	for _, want := range []Phase{Announced, Issuing, Settled} {
		var err error
		if a, err = a.Next("web", start); err != nil {
			t.Fatal(err)
		}
		// Whatever machine goes on with it.
		dir := t.TempDir()
		if err := a.Write(dir); err != nil {
			t.Fatal(err)
		}
		if a, err = Read(dir); err != nil || a.Phase() != want {
			t.Fatalf("phase %v, %v, want %v", a.Phase(), err, want)
		}
		a.bring(t, first, ahead, false, start)
		mutual("one host, " + want.String())
		a.bring(t, second, behind, false, start)
		mutual("both, " + want.String())
		if again := a.bring(t, first, ahead, false, start); len(again) > 0 {
			t.Errorf("%s: done again, %q are due", want, again)
		}
	}
	if believes(t, ahead, "gateway/ca.pem", stolen, "conductor/conductor.pem") {
		t.Error("an old certificate is believed still")
	}
}

func TestDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "web", "certificates")
	if _, err := Read(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
	a := newAuthorities(t)
	if err := errors.Join(a.Write(dir), a.WriteOperator(dir, start)); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, OperatorFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.WriteOperator(dir, start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(filepath.Join(dir, OperatorFile)); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the operator's certificate is another: %v", err)
	}
	for name, want := range map[string]fs.FileMode{"": 0o700, authoritiesFile: 0o600, OperatorFile: 0o600, BelievedFile: 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%q: %v, %v", name, info, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, authoritiesFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, authoritiesFile), text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a file: %v", err)
	}
}

// What happens when a change is cut off is seen in the directory.
func TestChangeThatWasCutOff(t *testing.T) {
	dir := t.TempDir()
	a := newAuthorities(t)
	changing := func(want bool) {
		t.Helper()
		if got, err := a.Changing(dir); got != want || err != nil {
			t.Errorf("changing: %t, %v", got, err)
		}
	}
	changing(false)
	next, err := a.Next("web", start)
	if err != nil {
		t.Fatal(err)
	}
	settled := a
	a = next
	changing(true) // before it was begun
	if err := Begin(dir); err != nil {
		t.Fatal(err)
	}
	a = settled
	changing(true) // in the last pass
	if err := errors.Join(End(dir), End(dir)); err != nil {
		t.Fatal(err)
	}
	changing(false)
}

func TestList(t *testing.T) {
	a, other := newAuthorities(t), newAuthorities(t)
	has := map[string][]byte{}
	a.bring(t, first, has, false, start)
	delete(has, "skydns/skydns.pem")
	strange := map[string][]byte{}
	other.bring(t, first, strange, false, start)
	has["conductor/conductor.pem"] = strange["conductor/conductor.pem"]
	for _, one := range a.List(has, start.AddDate(0, 11, 0)) {
		want := map[string]string{"skydns/skydns.pem": "missing", "conductor/conductor.pem": "from an authority that is not the cluster's"}[one.File]
		if one.Trouble != want {
			t.Errorf("%s: %q, want %q", one.File, one.Trouble, want)
		}
	}
	for _, one := range a.List(has, start.AddDate(2, 0, 0)) {
		if one.Trouble == "" {
			t.Errorf("%s is good for too long: %s", one.File, one.Ends)
		}
	}
}
