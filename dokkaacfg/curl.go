package dokkaacfg

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/dokkaacfg/certificates"
)

type curlCommand struct {
	Key     string
	Options []string
}

func newCurlCommand(p *invocation) *cobra.Command {
	c := new(curlCommand)
	cmd := &cobra.Command{
		Use: "curl <key> [option of curl]...", Short: "Print the line by which curl reads or writes a key of the cluster",
		Example: "dokkaacfg --cluster=web curl '/apps?recursive=true'\n" +
			"dokkaacfg --cluster=web curl /apps/dummy/nginx/manifest -XPUT --data-urlencode value@- | sh",
		Args:              andMore(&c.Options, &c.Key),
		ValidArgsFunction: cobra.NoFileCompletions, RunE: p.run(c.Run),
	}
	cmd.Flags().SetInterspersed(false) // what follows the key is curl's
	return cmd
}

// Run prints the line.
func (c *curlCommand) Run(ctx context.Context, s *session) error {
	hosts, err := s.provider.hosts(ctx)
	if err != nil {
		return err
	}
	if len(hosts) == 0 {
		return fmt.Errorf("there is no cluster %s; dokkaacfg up makes it", s.cluster)
	}
	_, err = fmt.Fprintln(s.out, c.line(hosts[0], s.doors))
	return err
}

// line is the shell's: over SSH to where no certificate is needed, or with the operator's where that
// can be reached.
func (c *curlCommand) line(host Host, d doors) string {
	key := "/v2/keys/" + strings.TrimPrefix(c.Key, "/")
	machine, far := host.(hostedHost)
	switch {
	case far && len(d.open) > 0 && d.keys != nil:
		own, believed := filepath.Join(d.authorities, certificates.OperatorFile), filepath.Join(d.authorities, certificates.BelievedFile)
		words := append([]string{"curl", "-L", "--cert", own, "--key", own, "--cacert", believed}, c.Options...)
		return shellLine(append(words, fmt.Sprintf("https://%s:%d%s", machine.SSH.Addr(), gatewayPort, key)))
	case far:
		there := shellLine(append(append([]string{"curl", "-L"}, c.Options...), fmt.Sprintf("http://127.0.0.1:%d%s", gatewayPort, key)))
		identity := ""
		if machine.KeyFile != "" {
			identity = "-i " + shellWord(machine.KeyFile) + " "
		}
		return "ssh " + identity + machine.login() + " " + shellWord(there)
	}
	return shellLine(append(append([]string{"curl", "-L"}, c.Options...), d.gateway(host.IP())+key))
}

// plainWord needs no quotes in a shell.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:=@%+,-]+$`)

func shellLine(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = shellWord(word)
	}
	return strings.Join(quoted, " ")
}

func shellWord(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
