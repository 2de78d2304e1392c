// Package certificates keeps a cluster's authorities in a directory of the operator's, and says which
// certificates hosts are to have. See docs/adr/0028-two-authorities.md.
package certificates

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"github.com/dokkaa/dokkaa/internal/certificate"
)

// Files in the directory. The operator's certificate is there for curl and the like.
const (
	authoritiesFile = "authorities.pem"
	OperatorFile    = "operator.pem"
	BelievedFile    = "ca.pem"
)

// MemberName is who members of etcd believe as one of them.
const MemberName = certificate.MemberName

// Names of the authorities.
const (
	etcdName     = "etcd"
	gatewaysName = "gateways"
)

// Authorities are those of a cluster: who vouches for members of etcd and their clients, and who for
// gateways and theirs. Of each kind the first issues certificates. There is a second one while they are
// changed, which is believed as well.
type Authorities struct{ etcd, gateways []*certificate.Authority }

// New makes authorities for a cluster.
func New(cluster string, now time.Time) (Authorities, error) {
	etcd, err := certificate.NewAuthority(cluster, etcdName, now)
	if err != nil {
		return Authorities{}, err
	}
	gateways, err := certificate.NewAuthority(cluster, gatewaysName, now)
	if err != nil {
		return Authorities{}, err
	}
	return Authorities{[]*certificate.Authority{etcd}, []*certificate.Authority{gateways}}, nil
}

// Read reads what Write wrote to the directory; fs.ErrNotExist where it did not.
func Read(dir string) (Authorities, error) {
	file := filepath.Join(dir, authoritiesFile)
	text, err := os.ReadFile(file)
	if err != nil {
		return Authorities{}, fmt.Errorf("read the cluster's authorities: %w", err)
	}
	all, err := certificate.ParseAuthorities(text)
	if err != nil {
		return Authorities{}, fmt.Errorf("read the cluster's authorities: %s: %w", file, err)
	}
	var a Authorities
	for _, one := range all {
		switch one.Name() {
		case etcdName:
			a.etcd = append(a.etcd, one)
		case gatewaysName:
			a.gateways = append(a.gateways, one)
		}
	}
	if len(a.etcd) == 0 || len(a.gateways) == 0 || len(a.etcd) != len(a.gateways) {
		return Authorities{}, fmt.Errorf("read the cluster's authorities: %s does not have all of them", file)
	}
	return a, nil
}

// Write keeps the authorities in the directory, all of them or as it was before.
func (a Authorities) Write(dir string) error {
	var text bytes.Buffer
	for _, one := range a.All() {
		text.Write(one.Encode())
	}
	return write(dir, authoritiesFile, text.Bytes())
}

// WriteOperator keeps a certificate of the operator's for gateways in the directory, and whom to believe,
// unless those that are there will do.
func (a Authorities) WriteOperator(dir string, now time.Time) error {
	if err := writeChanged(dir, BelievedFile, bundle(a.gateways)); err != nil {
		return err
	}
	subject := operator()
	has, err := os.ReadFile(filepath.Join(dir, OperatorFile))
	if err == nil && isGood(has, subject, a.gateways[0], now) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the operator's certificate: %w", err)
	}
	text, err := a.gateways[0].Issue(subject, now)
	if err != nil {
		return err
	}
	return write(dir, OperatorFile, text)
}

// Operator is how an operator speaks to gateways and to members of etcd. What is shown is made for this
// call, so it never ends too early.
func (a Authorities) Operator(now time.Time) (gateways, etcd *tls.Config, err error) {
	if gateways, err = operatorOf(a.gateways, now); err == nil {
		etcd, err = operatorOf(a.etcd, now)
	}
	return gateways, etcd, err
}

func operatorOf(by []*certificate.Authority, now time.Time) (*tls.Config, error) {
	text, err := by[0].Issue(operator(), now)
	if err != nil {
		return nil, err
	}
	return certificate.Client(text, bundle(by))
}

// operator is who uses this machine.
func operator() certificate.Subject {
	name := "operator"
	if who, err := user.Current(); err == nil {
		name = who.Username
	}
	if machine, err := os.Hostname(); err == nil {
		name += "@" + machine
	}
	return certificate.Subject{Role: certificate.Operator, Name: name}
}

// Phase is how far a change of authorities is.
type Phase int

// Phases: nothing changes; hosts come to believe the new ones too; they get certificates of these.
const (
	Settled Phase = iota
	Announced
	Issuing
)

func (p Phase) String() string {
	return map[Phase]string{
		Settled: "believe the cluster's authorities alone", Announced: "believe the new authorities, too",
		Issuing: "have certificates of the new authorities",
	}[p]
}

// Phase tells it by which one is older.
func (a Authorities) Phase() Phase {
	switch {
	case len(a.etcd) == 1:
		return Settled
	case a.etcd[0].Made().Before(a.etcd[1].Made()):
		return Announced
	}
	return Issuing
}

// Next are the authorities one step further. Before it is taken, all hosts have to have what the phase
// before asks for.
func (a Authorities) Next(cluster string, now time.Time) (Authorities, error) {
	switch a.Phase() {
	case Announced:
		return Authorities{swapped(a.etcd), swapped(a.gateways)}, nil
	case Issuing:
		return Authorities{a.etcd[:1], a.gateways[:1]}, nil
	}
	// Which is the older shows how far the change is, also where a clock went back.
	if after := a.etcd[0].Made().Add(time.Second); now.Before(after) {
		now = after
	}
	if after := a.gateways[0].Made().Add(time.Second); now.Before(after) {
		now = after
	}
	more, err := New(cluster, now)
	if err != nil {
		return a, err
	}
	return Authorities{append(a.etcd[:1:1], more.etcd...), append(a.gateways[:1:1], more.gateways...)}, nil
}

func swapped(pair []*certificate.Authority) []*certificate.Authority {
	return []*certificate.Authority{pair[1], pair[0]}
}

// All are all of them.
func (a Authorities) All() []*certificate.Authority {
	return append(append([]*certificate.Authority{}, a.etcd...), a.gateways...)
}

// Ends is when the first of those that issue can do so no more.
func (a Authorities) Ends() time.Time {
	if a.etcd[0].Ends().Before(a.gateways[0].Ends()) {
		return a.etcd[0].Ends()
	}
	return a.gateways[0].Ends()
}

// BelievedByEtcd is what members of etcd believe, and read only when they start.
func (a Authorities) BelievedByEtcd() []byte { return bundle(a.etcd) }

// bundle are the authorities without their keys, the oldest first: who issues is none of the believers'
// business.
func bundle(all []*certificate.Authority) []byte {
	if len(all) == 2 && all[1].Made().Before(all[0].Made()) {
		all = swapped(all)
	}
	var text []byte
	for _, one := range all {
		text = append(text, one.Certificate()...)
	}
	return text
}

func writeChanged(dir, name string, data []byte) error {
	if has, err := os.ReadFile(filepath.Join(dir, name)); err == nil && bytes.Equal(has, data) {
		return nil
	}
	return write(dir, name, data)
}

// write writes a file that nobody else may read, the whole of it or nothing, onto the disk.
func write(dir, name string, data []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep certificates: %w", err)
	}
	temp := filepath.Join(dir, name+".new")
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keep certificates: %w", err)
	}
	file, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keep certificates: %w", err)
	}
	_, err = file.Write(data)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("keep certificates: %w", err)
	}
	if err := os.Rename(temp, filepath.Join(dir, name)); err != nil {
		return fmt.Errorf("keep certificates: %w", err)
	}
	return nil
}
