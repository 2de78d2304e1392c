package dokkaacfg

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/dokkaa/dokkaa/dokkaacfg/certificates"
	"github.com/dokkaa/dokkaa/dokkaacfg/provision"
)

// certificatesInside is where a daemon finds its certificates, which are all that it has there.
const certificatesInside = "/etc/dokkaa/tls"

// newDoors are those of a cluster whose authorities are in the directory. As long as there are none
// it speaks without certificates.
func newDoors(dir string) (doors, error) {
	d := doors{authorities: dir}
	a, err := certificates.Read(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return d, err
	}
	believed := sha256.Sum256(a.BelievedByEtcd())
	d.believed = hex.EncodeToString(believed[:8])
	d.keys, d.etcd, err = a.Operator(time.Now())
	return d, err
}

// secure has the hosts prove to each other who they are, if they are not a machine's own.
func (i *installation) secure(ctx context.Context) error {
	dir := i.doors.authorities
	if dir == "" {
		return nil
	}
	authorities, err := certificates.Read(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := i.refuseStrangers(ctx); err != nil {
			return err
		}
		if authorities, err = certificates.New(i.cluster, time.Now()); err == nil {
			err = authorities.Write(dir)
		}
		if err == nil {
			i.progress.done("the cluster's authorities, which its hosts' certificates are from: %s", dir)
		}
	}
	if err == nil {
		err = authorities.WriteOperator(dir, time.Now())
	}
	if err == nil {
		err = i.reopen()
	}
	if err != nil {
		return err
	}
	return i.certify(ctx, authorities, false)
}

// reopen reads the authorities again.
func (i *installation) reopen() error {
	again, err := newDoors(i.doors.authorities)
	again.open = i.doors.open
	i.doors = again
	return err
}

// refuseStrangers fails if hosts run daemons of ours already: with new authorities they would not
// believe each other, nor us.
func (i *installation) refuseStrangers(ctx context.Context) error {
	for _, host := range i.hosts {
		running, err := i.engines[host.IP()].daemons(ctx)
		if err != nil {
			return fmt.Errorf("host %s: %w", host.IP(), err)
		}
		if len(running) > 0 {
			return fmt.Errorf("host %s is a cluster's already, whose authorities are not on this machine: bring %s from the one that made the cluster. "+
				"If a version without certificates did: dokkaacfg backup, down, up and restore", host.IP(), i.doors.authorities)
		}
	}
	return nil
}

// certify brings the hosts the certificates that they lack, or all of them anew.
func (i *installation) certify(ctx context.Context, a certificates.Authorities, anew bool) error {
	return i.onEach(ctx, func(ctx context.Context, host Host) error {
		machine, ok := host.(hostedHost)
		if !ok {
			return nil
		}
		has, err := provision.Certificates(ctx, machine.remote)
		if err != nil {
			return fmt.Errorf("host %s: %w", machine.Name, err)
		}
		outside, _, err := i.outside(ctx, host)
		if err != nil {
			return err
		}
		due, err := a.Due(certificates.Host{Private: machine.Private, Open: outside}, has, anew, time.Now())
		if err != nil {
			return err
		}
		for _, file := range due {
			if err := provision.WriteCertificate(ctx, machine.remote, file.Name, file.Content); err != nil {
				return fmt.Errorf("host %s: %w", machine.Name, err)
			}
		}
		if len(due) > 0 {
			i.progress.done("host %s: new certificates: %d", machine.Name, len(due))
		}
		return nil
	})
}

// certificateSettings are where daemons find what they show, and whom they believe.
var certificateSettings = map[string][]string{
	etcdName: append(memberSettings("ETCD"), append(memberSettings("ETCD_PEER"), "ETCD_PEER_CERT_ALLOWED_CN="+certificates.MemberName)...),
	"gateway": {
		"TLS_CERT=" + certificatesInside + "/gateway.pem", "TLS_KEY=" + certificatesInside + "/gateway.pem", "TLS_CA=" + certificatesInside + "/ca.pem",
		"ETCD_TLSPEM=" + certificatesInside + "/etcd.pem", "ETCD_TLSKEY=" + certificatesInside + "/etcd.pem", "ETCD_CACERT=" + certificatesInside + "/etcd-ca.pem",
	},
	"conductor": clientSettings("conductor"),
	"skydns":    clientSettings("skydns"),
}

func memberSettings(prefix string) []string {
	pem := certificatesInside + "/etcd.pem"
	return []string{prefix + "_CERT_FILE=" + pem, prefix + "_KEY_FILE=" + pem, prefix + "_TRUSTED_CA_FILE=" + certificatesInside + "/ca.pem", prefix + "_CLIENT_CERT_AUTH=true"}
}

func clientSettings(daemon string) []string {
	pem := certificatesInside + "/" + daemon + ".pem"
	return []string{"ETCD_TLSPEM=" + pem, "ETCD_TLSKEY=" + pem, "ETCD_CACERT=" + certificatesInside + "/ca.pem"}
}

// give gives a daemon its certificates, where the cluster has any.
func (d doors) give(spec daemonSpec) daemonSpec {
	settings := certificateSettings[spec.name]
	if d.etcd == nil || settings == nil {
		return spec
	}
	spec.env = append(slices.Clip(spec.env), settings...)
	spec.binds = append(slices.Clip(spec.binds), provision.CertificatesDir+"/"+spec.name+":"+certificatesInside+":ro")
	if spec.name == etcdName {
		spec.content += d.believed // which it reads at its start only
	}
	return spec
}
