package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"
	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/dokkaacfg/backup"
	"github.com/dokkaa/dokkaa/internal/state"
)

const (
	clusterLabel  = "dokkaa.cluster" // of a container: the id of its cluster
	conductorName = "conductor"
)

type restoreCommand struct {
	File  string
	Force bool
	Yes   bool
}

func newRestoreCommand(p *invocation) *cobra.Command {
	c := new(restoreCommand)
	cmd := &cobra.Command{
		Use: "restore <file>", Short: "Make etcd anew from a backup",
		Long: `Make etcd anew on the cluster's hosts, with what a backup holds. Containers that run there and are of the backup's cluster
are taken over as they are. Until all is written, nothing acts on it. Interrupted, the same command begins anew.

It is for a cluster that has lost its keys, or new hosts; where there are manifests, secrets, registry logins or keys of yours, or nobody can tell,
it wants --force, and the cluster's name to be typed: these keys are lost then.`,
		Example: "dokkaacfg up --scale=3          # if the hosts are gone, too\ndokkaacfg restore backup.json",
		Args:    exactly(&c.File), RunE: p.run(c.Run),
	}
	cmd.Flags().BoolVar(&c.Force, "force", false, "also where there are keys, which are lost then")
	yesFlag(cmd, &c.Yes)
	return cmd
}

// Run makes etcd anew.
func (c *restoreCommand) Run(ctx context.Context, s *session) error {
	b, err := readBackupFile(c.File)
	if err != nil {
		return err
	}
	if b.Cluster != s.cluster && !c.Force {
		return fmt.Errorf("the backup is of cluster %s, not of %s; --force restores it all the same", b.Cluster, s.cluster)
	}
	release, err := s.lock()
	if err != nil {
		return err
	}
	defer release()
	r := &restoring{session: s, backup: b, progress: newProgress(s.out)}
	if err := r.look(ctx); err != nil {
		return err
	}
	if r.loses != "" && !c.Force {
		return fmt.Errorf("%s; nothing was changed. --force makes etcd anew all the same", r.loses)
	}
	r.say()
	if r.loses != "" || !c.Yes {
		if err := s.confirm("the cluster's name", s.cluster); err != nil {
			return err
		}
	}
	return r.run(ctx)
}

func readBackupFile(name string) (backup.Backup, error) {
	file, err := os.Open(name)
	if err != nil {
		return backup.Backup{}, fmt.Errorf("read backup: %w", err)
	}
	defer file.Close()
	b, err := backup.Read(file)
	if err != nil {
		return b, fmt.Errorf("read backup %s: %w", name, err)
	}
	return b, nil
}

// restoring writes a backup into an etcd that is made for it.
type restoring struct {
	*session
	backup   backup.Backup
	progress *progress
	install  *installation
	loses    string   // what there is that would be lost; "" for nothing
	gone     []string // hosts of the backup that are not there any more
	serving  bool     // containers of the cluster run on the hosts
}

// look finds out what there is, and changes nothing.
func (r *restoring) look(ctx context.Context) error {
	hosts, err := r.provider.hosts(ctx)
	if err != nil {
		return err
	}
	if len(hosts) == 0 {
		return fmt.Errorf("cluster %s has no hosts; dokkaacfg up makes some", r.cluster)
	}
	r.install = newInstallation(Installation{Cluster: r.cluster, Hosts: hosts, SecretKey: r.secretKeyFile(), Log: r.log}, r.progress)
	r.install.doors = r.doors
	// Of this etcd: who knew the one before must not take it for that.
	r.install.token = fmt.Sprintf("%s-%d", r.cluster, time.Now().Unix())
	if err := r.install.connect(ctx); err != nil {
		return err
	}
	if err := r.lookAtContainers(ctx); err != nil {
		return err
	}
	for _, k := range r.backup.Keys {
		if host, ok := state.ParseHostKey(k.Key); ok && !slices.Contains(r.gone, host.IP) &&
			!slices.ContainsFunc(hosts, func(h Host) bool { return h.IP().String() == host.IP }) {
			r.gone = append(r.gone, host.IP)
		}
	}
	if err := r.checkSecretKey(); err != nil {
		return err
	}
	return r.lookAtKeys(ctx)
}

// lookAtContainers refuses a backup of another cluster than the containers are of: they would all
// be strangers to it.
func (r *restoring) lookAtContainers(ctx context.Context) error {
	for _, host := range r.install.hosts {
		client := r.install.engines[host.IP()].client
		found, err := client.ListContainers(dockerclient.ListContainersOptions{All: true, Filters: map[string][]string{"label": {clusterLabel}}, Context: ctx})
		if err != nil {
			return fmt.Errorf("list containers of host %s: %w", host.IP(), err)
		}
		for _, container := range found {
			id := container.Labels[clusterLabel]
			if container.Labels["dokkaa.app"] == "" {
				continue // a helper of the conductor's
			}
			if id != r.backup.ID {
				return fmt.Errorf("host %s runs containers of cluster %s, and the backup is of %s: they are two clusters; remove them, or take another backup",
					host.IP(), id, r.backup.ID)
			}
			r.serving = true
		}
	}
	return nil
}

// lookAtKeys finds out what would be lost.
func (r *restoring) lookAtKeys(ctx context.Context) error {
	found, err := r.install.lookForEtcd(ctx)
	if err != nil {
		return err
	}
	any := false
	for _, data := range found.data {
		any = any || data
	}
	if !any {
		return nil
	}
	// At etcd itself: gateways may not know its members.
	keys, err := r.install.openMembers(r.install.etcd(found).members)
	if err != nil {
		r.loses = "etcd has data, and does not run" // there is no member to ask
		return nil
	}
	defer keys.Close()
	list, err := keys.List(ctx, "/")
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		r.loses = fmt.Sprintf("etcd has data that cannot be read (%v); dokkaacfg recover makes one of its members the whole, if one is good", err)
		return nil
	}
	own := 0
	for _, node := range list.Nodes {
		if node.Key == state.RestoringKey {
			return nil // of what a restore left that did not come to its end
		}
		if isUsers(node.Key) {
			own++
		}
	}
	if own > 0 {
		r.loses = fmt.Sprintf("etcd has %s of applications, secrets, configs, registry logins, settings or yours, which would be lost", plural(own, "key", "keys"))
	}
	return nil
}

// isUsers tells of a key that would not come back by itself.
func isUsers(key string) bool {
	for _, dir := range []string{state.AppsDir, state.SecretsDir, state.ConfigsDir, state.RegistriesDir} {
		if strings.HasPrefix(key, dir+"/") {
			return true
		}
	}
	if key == state.SettingsKey {
		return true
	}
	for _, dir := range []string{"/dokkaa", state.HostsDir, state.RecordsDir} {
		if strings.HasPrefix(key, dir+"/") {
			return false
		}
	}
	return true
}

// checkSecretKey sees to it that the secrets can be read that are in the backup.
func (r *restoring) checkSecretKey() error {
	key := keyFile{path: r.secretKeyFile()}
	err := key.read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch {
	case !slices.ContainsFunc(r.backup.Keys, isSealed) || key.digest == r.backup.KeyDigest:
		return nil
	case r.backup.SecretKey == "":
		return fmt.Errorf("the backup's secrets or registry logins are encrypted with another key than that in %s: put the right one there, of a copy of that file or of a backup made --with-key", r.secretKeyFile())
	}
	return nil
}

// isSealed tells of a key whose value can be read with the cluster's key only.
func isSealed(k backup.Key) bool {
	return strings.HasPrefix(k.Key, state.SecretsDir+"/") || strings.HasPrefix(k.Key, state.RegistriesDir+"/")
}

func (r *restoring) say() {
	b := r.backup
	fmt.Fprintf(r.out, "Cluster %s: %s.\nEtcd is made anew on %s, with %s as of %s.\n", r.cluster, r.provider.describe(),
		listAddresses(r.install.hosts), plural(len(b.Keys), "key", "keys"), b.Time.Format(time.RFC3339))
	if r.loses != "" {
		fmt.Fprintf(r.out, "%s.\n", strings.ToUpper(r.loses[:1])+r.loses[1:])
	}
	if len(r.gone) > 0 {
		fmt.Fprintf(r.out, "Hosts that are not there any more, what they had starts on others, with empty volumes: %s\n", strings.Join(r.gone, ", "))
	}
}
