package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/dokkaacfg/certificates"
	"github.com/dokkaa/dokkaa/dokkaacfg/provision"
	"github.com/dokkaa/dokkaa/internal/certificate"
)

type certsCommand struct{ output }

func newCertsCommand(p *invocation) *cobra.Command {
	c := new(certsCommand)
	cmd := &cobra.Command{
		Use: "certs", Short: "Show the cluster's certificates: whose they are, and until when",
		Example: "dokkaacfg --provider=ssh --cluster=web certs\ndokkaacfg --provider=ssh --cluster=web certs -o json",
		Args:    exactly(), RunE: p.run(c.Run),
	}
	c.output.flag(cmd)
	cmd.AddCommand(newCertsRotateCommand(p))
	return cmd
}

// certificateReport tells of a certificate.
type certificateReport struct {
	Host    string    `json:"host,omitempty"` // "" for this machine
	File    string    `json:"file"`
	Role    string    `json:"role"`
	Name    string    `json:"name,omitempty"`
	Until   time.Time `json:"until,omitzero"`
	Trouble string    `json:"trouble,omitempty"`
}

// Run shows the certificates.
func (c *certsCommand) Run(ctx context.Context, s *session) error {
	a, err := s.readAuthorities()
	if err != nil {
		return err
	}
	hosts, err := s.provider.hosts(ctx)
	if err != nil {
		return err
	}
	all := ownCertificates(a, s.doors.authorities)
	ofHosts := make([][]certificateReport, len(hosts))
	var group sync.WaitGroup
	for n, host := range hosts {
		group.Go(func() { ofHosts[n] = hostCertificates(ctx, a, host.(hostedHost)) })
	}
	group.Wait()
	all = append(all, slices.Concat(ofHosts...)...)
	return c.write(s.out, all, func() string { return certificatesText(all) })
}

// readAuthorities are those of the session's cluster.
func (s *session) readAuthorities() (certificates.Authorities, error) {
	if s.doors.authorities == "" {
		return certificates.Authorities{}, errors.New("the hosts of this provider have no certificates: they are in a network of this machine's own")
	}
	a, err := certificates.Read(s.doors.authorities)
	if errors.Is(err, fs.ErrNotExist) {
		return a, fmt.Errorf("cluster %s has no authorities here (%s); dokkaacfg up makes them with the cluster", s.cluster, s.doors.authorities)
	}
	return a, err
}

// ownCertificates are those on this machine.
func ownCertificates(a certificates.Authorities, dir string) []certificateReport {
	var all []certificateReport
	for _, one := range a.All() {
		all = append(all, certificateReport{File: dir, Role: "authority", Name: one.Name(), Until: one.Ends()})
	}
	file := filepath.Join(dir, certificates.OperatorFile)
	own := certificateReport{File: file, Role: string(certificate.Operator)}
	text, err := os.ReadFile(file)
	if err == nil {
		cert, parseErr := certificate.Parse(text)
		if err = parseErr; err == nil {
			own.Name, own.Until = cert.Subject.CommonName, cert.NotAfter
		}
	}
	if err != nil {
		own.Trouble = err.Error()
	}
	return append(all, own)
}

func hostCertificates(ctx context.Context, a certificates.Authorities, host hostedHost) []certificateReport {
	has, err := provision.Certificates(ctx, host.remote)
	if err != nil {
		return []certificateReport{{Host: host.Name, Trouble: err.Error()}}
	}
	var all []certificateReport
	for _, one := range a.List(has, time.Now()) {
		all = append(all, certificateReport{Host: host.Name, File: filepath.Join(provision.CertificatesDir, one.File),
			Role: string(one.Role), Name: one.Name, Until: one.Ends, Trouble: one.Trouble})
	}
	return all
}

func certificatesText(all []certificateReport) string {
	var t table
	t.row("HOST", "ROLE", "WHO", "UNTIL", "FILE", "TROUBLE")
	for _, one := range all {
		host, until := one.Host, ""
		if host == "" {
			host = "(here)"
		}
		if !one.Until.IsZero() {
			until = one.Until.Local().Format(time.DateOnly)
		}
		t.row(host, one.Role, one.Name, until, one.File, one.Trouble)
	}
	return t.String()
}
