package dokkaacfg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/dokkaacfg/backup"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

type backupCommand struct {
	File    string
	WithKey bool
}

func newBackupCommand(p *invocation) *cobra.Command {
	c := new(backupCommand)
	cmd := &cobra.Command{
		Use: "backup <file>", Short: "Write all that etcd holds into a file",
		Long: `Write all keys of the cluster into a file, as they are at one moment. The file is for its owner alone.
Secrets in it are encrypted with the cluster's key, which is on this machine; --with-key puts that into the file, too.
What is in volumes is not in it, nor are keys that etcd hides from every list, because a part of them begins with "_".`,
		Example: "dokkaacfg backup /var/backups/dokkaa-$(date +%F).json",
		Args:    exactly(&c.File), RunE: p.run(c.Run),
	}
	cmd.Flags().BoolVar(&c.WithKey, "with-key", false, "with the key that the secrets are encrypted with: whoever has the file can read them")
	return cmd
}

// Run writes the file, whole or not at all.
func (c *backupCommand) Run(ctx context.Context, s *session) error {
	var b backup.Backup
	err := s.withKeys(ctx, writeTimeout, func(ctx context.Context, keys clusterKeys) (err error) {
		b, err = readBackup(ctx, keys.Store)
		return err
	})
	if err != nil {
		return err
	}
	b.Cluster, b.Time = s.cluster, time.Now().UTC().Truncate(time.Second)
	key := keyFile{path: s.secretKeyFile()}
	switch err := key.read(); {
	case errors.Is(err, fs.ErrNotExist) && !c.WithKey: // a cluster without secrets needs none
	case err != nil:
		return err
	}
	b.KeyDigest = key.digest
	if c.WithKey {
		text, err := os.ReadFile(key.path)
		if err != nil {
			return fmt.Errorf("read the cluster's key: %w", err)
		}
		b.SecretKey = string(text)
	}
	var file bytes.Buffer
	if err := b.Write(&file); err != nil {
		return err
	}
	temp := c.File + ".new"
	if err := writeSynced(temp, file.Bytes()); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	if err := os.Rename(temp, c.File); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	_, err = fmt.Fprintf(s.out, "%s: %s of cluster %s as of index %d\n", c.File, plural(len(b.Keys), "key", "keys"), b.Cluster, b.Index)
	return err
}

// readBackup reads all keys at one index, as a majority knows them.
func readBackup(ctx context.Context, keys *store.Store) (backup.Backup, error) {
	list, err := keys.List(ctx, "/")
	if err != nil {
		return backup.Backup{}, err
	}
	b := backup.Backup{Index: list.Index}
	for _, node := range list.Nodes {
		switch node.Key {
		case state.ClusterKey:
			b.ID = node.Value
		case state.RestoringKey:
			return b, errors.New("a restore did not come to its end: what is there is not whole. The same dokkaacfg restore goes on")
		}
		b.Keys = append(b.Keys, backup.Key{Key: node.Key, Value: node.Value, TTL: int64(node.TTL / time.Second), Created: node.Created, Modified: node.Modified})
	}
	if b.ID == "" {
		return b, fmt.Errorf("etcd has no %s: its content was lost, or no conductor has run yet", state.ClusterKey)
	}
	return b, nil
}
