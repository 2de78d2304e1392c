package dokkaacfg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

type sshCommand struct {
	Host string
	Args []string
}

func newSSHCommand(p *invocation) *cobra.Command {
	c := new(sshCommand)
	cmd := &cobra.Command{
		Use: "ssh <host> [command]...", Short: "Log in to a host, or run a command on it",
		Long: `Log in to a host, or run a command on it, with the system's ssh: as the user, at the port and with the key that the cluster is
reached by. The host is believed only with the host key that it had when the cluster first saw it. The host is said by its name or one of its
addresses. On virtual hosts it is a shell in the host's network, in which docker speaks to the host's Engine. It ends with the command's exit code.`,
		Example: "dokkaacfg --provider=ssh --cluster=web ssh web-1\ndokkaacfg --provider=ssh --cluster=web ssh web-1 docker ps\n" +
			"dokkaacfg ssh 10.101.0.1 curl -s http://127.0.0.1:4001/v2/keys/hosts",
		Args: andMore(&c.Args, &c.Host), ValidArgsFunction: p.completeMachines, RunE: p.run(c.Run),
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().SetInterspersed(false) // what comes after the host is the command's
	return cmd
}

// Run logs in.
func (c *sshCommand) Run(ctx context.Context, s *session) error {
	host, err := s.findHost(ctx, c.Host)
	if err != nil {
		return err
	}
	// What the words mean is the shell's business there, as ssh has it.
	command := strings.Join(commandOf(c.Args), " ")
	var cmd *exec.Cmd
	if machine, ok := host.(hostedHost); ok {
		if cmd, err = machine.ssh(ctx, command); err != nil {
			return err
		}
	} else {
		cmd = commandOn(ctx, host, cmp.Or(os.Getenv("SHELL"), "/bin/sh"))
		if command != "" {
			cmd.Args = append(cmd.Args, "-c", command)
		}
		cmd.Env = append(os.Environ(), "DOCKER_HOST="+host.DockerHost())
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.in, s.out, s.errOut
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exitCode(exit.ExitCode())
	}
	if err != nil {
		return fmt.Errorf("log in to host %s: %w", c.Host, err)
	}
	return nil
}

// findHost is the host of the name, or of one of the addresses.
func (s *session) findHost(ctx context.Context, text string) (Host, error) {
	hosts, err := s.provider.hosts(ctx)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, host := range hosts {
		names := namesOf(host)
		for _, name := range names {
			if name == text {
				return host, nil
			}
		}
		all = append(all, names[0])
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there is no cluster %s; dokkaacfg up makes it", s.cluster)
	}
	return nil, usageError{fmt.Sprintf("cluster %s has no host %s; there are %s", s.cluster, text, strings.Join(all, ", "))}
}

// namesOf are the name and the addresses of a host, what people call it first.
func namesOf(host Host) (names []string) {
	if machine, ok := host.(hostedHost); ok {
		names = append(names, machine.Name)
		if machine.SSH.IsValid() {
			names = append(names, machine.SSH.Addr().String())
		}
	}
	return append(names, host.IP().String())
}

// ssh is the call of the system's ssh that reaches the host as we do.
func (h hostedHost) ssh(ctx context.Context, command string) (*exec.Cmd, error) {
	program, err := exec.LookPath("ssh")
	if err != nil {
		return nil, errors.New("this machine has no ssh; install it (on Debian: apt-get install openssh-client)")
	}
	cmd := exec.CommandContext(ctx, program, h.sshArgs()...)
	if command != "" {
		cmd.Args = append(cmd.Args, command)
	}
	return cmd, nil
}

func (h hostedHost) sshArgs() []string {
	args := []string{
		"-o", `UserKnownHostsFile="` + h.remote.HostKeysFile() + `"`, "-o", "GlobalKnownHostsFile=/dev/null",
		"-o", "StrictHostKeyChecking=yes", "-p", strconv.Itoa(int(h.SSH.Port())),
	}
	if h.ID != "" { // its key is kept under that
		args = append(args, "-o", "HostKeyAlias="+h.ID)
	}
	if h.KeyFile != "" {
		args = append(args, "-o", "IdentitiesOnly=yes", "-i", h.KeyFile)
	}
	return append(args, "--", h.User+"@"+h.SSH.Addr().String())
}

// completeMachines offers the hosts' names for the first argument.
func (p *invocation) completeMachines(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	s, err := p.open(p)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer s.close()
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	hosts, err := s.provider.hosts(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []cobra.Completion
	for _, host := range hosts {
		names = append(names, namesOf(host)[0])
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
