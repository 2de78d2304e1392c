package dokkaacfg

import (
	"io"
	"os"

	"github.com/spf13/cobra"
)

const jsonFlag = "json"

// progressFlag is that of the commands whose work takes time.
func progressFlag(cmd *cobra.Command) {
	cmd.Flags().Bool(jsonFlag, false, "tell what happens as JSON, an object per line, for programs")
}

// showing decides how the command shows its progress: as JSON if that is asked for, live on a
// terminal, as plain lines elsewhere. What it returns ends that.
func (p *invocation) showing(cmd *cobra.Command) (end func(error)) {
	flag := cmd.Flags().Lookup(jsonFlag)
	if flag == nil {
		return func(error) {}
	}
	if flag.Value.String() == "true" {
		lines := &jsonLines{out: p.out}
		p.out = lines
		return func(err error) {
			lines.close()
			if err != nil {
				newProgress(lines).tell(progressEvent{State: stepFailed, Detail: err.Error()})
			}
		}
	}
	file, ok := isScreen(p.out, os.Getenv)
	if !ok {
		return func(error) {}
	}
	live := newLiveScreen(file, newPaint(p.out, os.Getenv))
	// What is logged is seen between the lines, if it goes to a terminal as well.
	if _, same := isScreen(p.errOut, os.Getenv); same {
		p.errOut = live
	}
	p.out = live
	return func(error) { live.close() }
}

// withoutScreen is where text goes that a screen would show, which is asked whether it is a terminal.
func withoutScreen(out io.Writer) io.Writer {
	if s, ok := out.(*liveScreen); ok {
		return s.file
	}
	return out
}
