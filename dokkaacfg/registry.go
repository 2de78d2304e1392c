package dokkaacfg

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	dockerclient "github.com/fsouza/go-dockerclient"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/dokkaa/dokkaa/internal/docker"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

func newRegistryCommand(p *invocation) *cobra.Command {
	return group("registry", "Look after the logins that hosts pull images with",
		newRegistryLoginCommand(p), newRegistryLsCommand(p), newRegistryLogoutCommand(p))
}

type registryLoginCommand struct {
	Registry string
	Username string
	Stdin    bool
}

func newRegistryLoginCommand(p *invocation) *cobra.Command {
	c := new(registryLoginCommand)
	cmd := &cobra.Command{
		Use: "login [<registry>]", Short: "Have all hosts pull images of a registry with a user name and password",
		Long: "Have all hosts pull images of a registry with a user name and password, from the next pull on. A host tries first whether the registry " +
			"takes them. Without a registry it is Docker Hub. The password is kept in the cluster, encrypted with the cluster's key.",
		Example: "dokkaacfg registry login registry.example.com     # asks for both\n" +
			"printf %s \"$TOKEN\" | dokkaacfg registry login ghcr.io --username=ann --password-stdin",
		Args: atMost(&c.Registry), ValidArgsFunction: cobra.NoFileCompletions, RunE: p.run(c.Run),
	}
	cmd.Flags().StringVarP(&c.Username, "username", "u", "", "`name` of the user; default asked for")
	cmd.Flags().BoolVar(&c.Stdin, "password-stdin", false, "read the password from standard input; default asked for")
	return cmd
}

// Run keeps a login that a host found to be good.
func (c *registryLoginCommand) Run(ctx context.Context, s *session) error {
	registry, err := parseRegistry(c.Registry)
	if err != nil {
		return err
	}
	username, password, err := c.ask(s)
	if err != nil {
		return err
	}
	key, err := s.readSecretKey()
	if err != nil {
		return err
	}
	if err := s.tryLogin(ctx, registry, username, password); err != nil {
		return err
	}
	value := asJSON(state.Registry{Username: username, Password: key.Seal([]byte(password), state.RegistrySealName(registry, username))})
	return s.withKeys(ctx, writeTimeout, func(ctx context.Context, keys clusterKeys) error {
		if _, err := keys.Set(ctx, state.RegistryKey(registry), value, 0); err != nil {
			return err
		}
		_, err := fmt.Fprintf(s.out, "registry %s takes user %s: all hosts pull with this login from now on\n", registry, username)
		return err
	})
}

func parseRegistry(text string) (string, error) {
	registry, err := state.ParseRegistry(text)
	if err != nil {
		return "", usageError{err.Error()}
	}
	return registry, nil
}

// ask reads what the flags do not say.
func (c *registryLoginCommand) ask(s *session) (username, password string, err error) {
	in, isTerminal := s.in.(*os.File)
	isTerminal = isTerminal && term.IsTerminal(int(in.Fd()))
	if username = c.Username; username == "" {
		if !isTerminal || c.Stdin {
			return "", "", usageError{"whose login is it? --username says that"}
		}
		fmt.Fprint(s.out, "Username: ")
		if username, err = readLine(in); err != nil {
			return "", "", fmt.Errorf("read the user name: %w", err)
		}
	}
	var typed []byte
	switch {
	case c.Stdin:
		typed, err = io.ReadAll(io.LimitReader(s.in, maxValueSize))
	case isTerminal:
		fmt.Fprint(s.out, "Password: ")
		typed, err = term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(s.out)
	default:
		return "", "", usageError{"nobody is there to type the password: pipe it in, with --password-stdin"}
	}
	if err != nil {
		return "", "", fmt.Errorf("read the password: %w", err)
	}
	if password = strings.TrimRight(string(typed), "\r\n"); username == "" || password == "" {
		return "", "", errors.New("the user name or the password is empty")
	}
	return username, password, nil
}

// readLine reads a line and nothing after it.
func readLine(in io.Reader) (string, error) {
	var line []byte
	for one := make([]byte, 1); ; {
		n, err := in.Read(one)
		if n > 0 && one[0] == '\n' || err == io.EOF && len(line) > 0 {
			return strings.TrimSpace(string(line)), nil
		}
		if err != nil {
			return "", err
		}
		line = append(line, one[:n]...)
	}
}

// tryLogin has a host ask the registry, which this machine need not reach. The first host that can be
// asked decides.
func (s *session) tryLogin(ctx context.Context, registry, username, password string) error {
	hosts, err := s.provider.hosts(ctx)
	if err != nil {
		return err
	}
	if len(hosts) == 0 {
		return fmt.Errorf("there is no cluster %s; dokkaacfg up makes it", s.cluster)
	}
	var unasked []error
	for _, host := range hosts {
		engine, err := connect(ctx, host, s.log)
		if err != nil {
			unasked = append(unasked, err)
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		_, err = engine.client.AuthCheckWithContext(&dockerclient.AuthConfiguration{
			Username: username, Password: password, ServerAddress: state.RegistryAddress(registry)}, ctx)
		var refused *dockerclient.Error
		switch {
		case err == nil:
			return nil
		case errors.As(err, &refused) && (refused.Status == http.StatusUnauthorized || strings.Contains(refused.Message, "401 Unauthorized")): // in words only, of a registry without tokens
			return fmt.Errorf("registry %s does not take user %s with this password: %s", registry, username, docker.Words(err))
		case errors.As(err, &refused):
			return fmt.Errorf("host %s cannot ask registry %s: %s", host.IP(), registry, docker.Words(err))
		}
		unasked = append(unasked, fmt.Errorf("host %s: %w", host.IP(), err))
	}
	return fmt.Errorf("no host can be asked to try the login: %w", errors.Join(unasked...))
}

type registryLogoutCommand struct{ Registry string }

func newRegistryLogoutCommand(p *invocation) *cobra.Command {
	c := new(registryLogoutCommand)
	return &cobra.Command{
		Use: "logout [<registry>]", Short: "Forget the login at a registry; without one it is Docker Hub",
		Example: "dokkaacfg registry logout registry.example.com",
		Args:    atMost(&c.Registry), ValidArgsFunction: cobra.NoFileCompletions, RunE: p.run(c.Run),
	}
}

// Run removes a login. Images that hosts have stay there.
func (c *registryLogoutCommand) Run(ctx context.Context, s *session) error {
	registry, err := parseRegistry(c.Registry)
	if err != nil {
		return err
	}
	return s.withKeys(ctx, writeTimeout, func(ctx context.Context, keys clusterKeys) error {
		if _, err := keys.Get(ctx, state.RegistryKey(registry)); errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("there is no login at registry %s; dokkaacfg registry ls shows which there are", registry)
		} else if err != nil {
			return err
		}
		if err := removeKey(ctx, keys.Store, state.RegistryKey(registry)); err != nil {
			return err
		}
		_, err := fmt.Fprintf(s.out, "the login at registry %s is forgotten\n", registry)
		return err
	})
}

type registryLsCommand struct{ output }

// registryRow is a login as ls shows it.
type registryRow struct {
	Registry string `json:"registry"`
	Username string `json:"username"`
}

func newRegistryLsCommand(p *invocation) *cobra.Command {
	c := new(registryLsCommand)
	cmd := &cobra.Command{
		Use: "ls", Short: "Show at which registries there is a login, and whose; never the password",
		Example: "dokkaacfg registry ls",
		Args:    exactly(), RunE: p.run(c.Run),
	}
	c.output.flag(cmd)
	return cmd
}

// Run shows the logins.
func (c *registryLsCommand) Run(ctx context.Context, s *session) error {
	return s.withKeys(ctx, readTimeout, func(ctx context.Context, keys clusterKeys) error {
		listing, err := keys.List(ctx, state.RegistriesDir)
		if err != nil {
			return err
		}
		rows := []registryRow{}
		var t table
		t.row("REGISTRY", "USER")
		for _, node := range listing.Nodes {
			var stored state.Registry
			if err := json.Unmarshal([]byte(node.Value), &stored); err != nil {
				stored.Username = "" // it can be set again
			}
			row := registryRow{strings.TrimPrefix(node.Key, state.RegistriesDir+"/"), stored.Username}
			rows = append(rows, row)
			t.row(row.Registry, cmp.Or(row.Username, "(cannot be read)"))
		}
		return c.write(s.out, rows, func() string { return cmp.Or(t.String(), "No logins.\n") })
	})
}
